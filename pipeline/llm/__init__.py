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

Stages know Door and Answer. The way of a request (by the Batch API, batch is in the place of live):

    1  Door.ask, in the stage's thread, takes (tag, body) pairs and starts a thread with a loop
    2  Live: each of its workers takes the next pair; call.prepare makes its text and its key
    3  Asking.answer: who asks the same key already is waited for; what the cache has, is given
    4  Purse.reserve, where there is a cap, sets aside the most that it can cost
    5  Hosts.turn says which address is next, and when; Client.send sends it there
    6  answer.parse reads what came; every way that it can be no answer is one of faults
    7  Asking tries again, as often as faults and the configuration allow
    8  Account.keep writes the answer to the cache and settles its price; Account.fail puts a
       request that nobody could answer into quarantine, and makes an answer of its error
    9  what came within a moment is committed at once, then put on the queue to the stage's thread
    10 Door.ask yields (tag, answer) in the order of the requests
"""
