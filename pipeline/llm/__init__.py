"""The one door to hosted models, by the OpenAI protocol.

Every answer is kept in the call cache, and nothing is paid twice.

    door         (tag, request) in, (tag, answer) out in the same order
    live         one by one, as a continuous stream
    asking       each of them to its answer, whoever pays for it
    batch        the same requests at half the price, by the Batch API
    batch_client what that itself is asked
    batch_lines  what becomes of the lines that it answers
    jobs         those that are planned, made and waited for
    hosts        the addresses of an endpoint: who is asked next, and how fast
    client       one HTTP request
    identity     the keys that it shows, and how they stay between the two
    faults       every way that one can fail
    call         what is asked, and the key of its answer
    answer       what came back, checked
    tokens       its tokens with their log-probabilities
    silence      tells that nothing comes
    account      what a step asks and pays
    cache        every answer ever paid for, and who asks for more just now
    claims       requests on their way, whichever process asks them
    database     the cache on disk
    ledger       what was paid for
    money        prices and caps
    quarantine   requests that failed for good, with all their attempts

Stages know Door and Answer.
"""
