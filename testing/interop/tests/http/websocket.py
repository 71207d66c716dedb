"""What Python's websockets makes of the server: echoes of every kind, subscribers, and the end."""

import asyncio
import os
import urllib.request

import websockets

HOST = "198.18.0.2"


async def echoes():
    async with websockets.connect(f"ws://{HOST}/ws-echo", max_size=None, compression=None) as socket:
        for message in ["", "a", "ümlaut ☃", "x" * 125, "x" * 126, "x" * 70000, b"", os.urandom(300000)]:
            await socket.send(message)
            assert await socket.recv() == message
        # In several frames, with a ping between.
        await socket.send(iter(["one ", "two ", "three"]))
        assert await socket.recv() == "one two three"
        await (await socket.ping(b"are you there"))
        for number in range(1000):
            await socket.send(str(number))
        for number in range(1000):
            assert await socket.recv() == str(number)
        await socket.close(4001, "enough")
        assert socket.close_code == 4001, socket.close_code


async def subscribers():
    sockets = [await websockets.connect(f"ws://{HOST}/ws") for _ in range(50)]

    def publish(text):
        request = urllib.request.Request(f"http://{HOST}/publish", data=text.encode(), method="POST")
        assert urllib.request.urlopen(request).status == 202

    for number in range(10):
        await asyncio.get_running_loop().run_in_executor(None, publish, f"news {number}")
    for socket in sockets:
        for number in range(10):
            assert await socket.recv() == f"news {number}"
        await socket.close()
        assert socket.close_code == 1000, socket.close_code


async def refusals():
    # What is no text ends the connection with 1007.
    async with websockets.connect(f"ws://{HOST}/ws-echo", compression=None) as socket:
        await socket.write_frame(True, 1, b"\xff\xfe")
        try:
            while True:
                await socket.recv()
        except websockets.ConnectionClosed:
            pass
        assert socket.close_code == 1007, socket.close_code


async def main():
    await asyncio.wait_for(echoes(), 60)
    await asyncio.wait_for(subscribers(), 60)
    await asyncio.wait_for(refusals(), 60)
    print("echoed, heard, closed")


asyncio.run(main())
