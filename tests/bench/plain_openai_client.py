"""What a person would write: AsyncOpenAI, a semaphore, growing JSONL. URL, N, C, OUTDIR, HTTP in
the environment."""

import asyncio
import json
import os

import openai

ROWS, AT_ONCE = int(os.environ["N"]), int(os.environ["C"])
PATH = os.path.join(os.environ["OUTDIR"], "out.jsonl")


async def main() -> None:
    http = openai.DefaultAioHttpClient() if os.environ.get("HTTP") == "aiohttp" else None
    client = openai.AsyncOpenAI(
        base_url=os.environ["URL"],
        api_key="x",
        max_retries=6,
        timeout=120,
        **({"http_client": http} if http else {}),
    )
    semaphore = asyncio.Semaphore(AT_ONCE)
    with open(PATH, "a") as file:

        async def one(row: int) -> None:
            message = {"role": "user", "content": f"Tell a joke. row={row}"}
            async with semaphore:
                try:
                    answer = await client.chat.completions.create(
                        model="mock-1", messages=[message], max_tokens=64
                    )
                except openai.OpenAIError as error:
                    print(error)
                    return
                text = answer.choices[0].message.content
                file.write(
                    json.dumps({"row": row, "text": text, "usage": answer.usage.model_dump()})
                    + "\n"
                )
                file.flush()

        await asyncio.gather(*(one(row) for row in range(ROWS)))
    await client.close()


asyncio.run(main())
