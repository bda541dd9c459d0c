"""The one door to hosted models: the OpenAI protocol, every answer kept in the call cache, nothing paid twice.

door        takes requests, gives answers in the same order
hosts       the addresses of an endpoint: who is asked next, and how fast
client      one HTTP request
faults      every way that one can fail
answer      what came back
cache       every answer ever paid for
money       caps, prices, estimates
batch       the same requests at half the price, by the Batch API
quarantine  requests that failed for good, with all their attempts
"""
