import asyncio

from wardroom import Child


async def main() -> None:
    async with Child.from_env() as child:
        decision = await child.approve("greet", {"name": child.run.assignment}, permission="greet", resource="stdout")
        if not decision.approved:
            return await child.complete(f"not greeted: {decision.state} {decision.message or ''}".strip())
        async with decision.consumed() as arguments:
            await child.complete(f"Hello, {arguments['name']}!")


asyncio.run(main())
