#!/usr/bin/env python3
"""Tries a built tandem with the official OpenAI and Anthropic clients, each in
front of providers that speak its dialect and of providers that do not.

    python3 dialects_python.py path/to/tandem

The upstreams are one local server that plays the exchanges recorded for the
tests of the providers. Needs the packages "openai" and "anthropic";
everything stays on this machine.
"""

import http.server
import io
import json
import os
import signal
import sys
import tempfile
import threading

import anthropic
import openai

from openai_python import Tandem, check, refused

RECORDED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../internal/provider")

CONFIG = """
providers:
  one: {{ openai: {{ base_url: "{url}/openai/v1", api_key: "upstream-key" }}, models: {{ gpt: {{ model: upstream }} }} }}
  two: {{ anthropic: {{ base_url: "{url}/anthropic/v1", api_key: "upstream-key" }}, models: {{ claude: {{ model: upstream }} }} }}
  three: {{ gemini: {{ base_url: "{url}/gemini/v1beta", api_key: "upstream-key" }}, models: {{ gemini: {{ model: upstream }} }} }}
  four: {{ ollama: {{ base_url: "{url}/ollama" }}, models: {{ local: {{ model: upstream }} }} }}
tasks:
  support:
    instructions: Which department?
    teacher: claude
    labels: [refund, other]
"""

OPENAI = {
    "/embeddings": {"object": "list", "model": "upstream", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}], "usage": {"prompt_tokens": 3, "total_tokens": 3}},
    "/images/generations": {"created": 1, "data": [{"b64_json": "aGk="}]},
    "/audio/transcriptions": {"text": "hello"},
    "/responses": {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "upstream", "status": "completed", "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "hello", "annotations": []}]}],
    },
}


class Upstream(http.server.BaseHTTPRequestHandler):
    """Plays what is recorded for a provider: the task's answer to tandem's own
    questions, a reply with a thought, a text and two tool calls to others."""

    protocol_version = "HTTP/1.1"
    last = b""

    def log_message(self, *_):
        pass

    def do_POST(self):
        Upstream.last = body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.path.split("/")[1]
        for path, reply in OPENAI.items():
            if self.path.endswith(path):
                return self.reply(200, "application/json", json.dumps(reply).encode())
        if self.path.endswith("/audio/speech"):
            return self.reply(200, "audio/mpeg", b"\x00\x01sound")
        if self.path.endswith("/count_tokens"):
            return self.reply(200, "application/json", b'{"input_tokens": 14}')
        name = "chat"
        if b"Which department?" in body:
            name = "success"
        elif b"too fast" in body:
            name = "429_retry_after"
        elif b"break off" in body:
            name = "chat_stream_error"
        elif b'"stream":true' in body.replace(b" ", b"") or "streamGenerateContent" in self.path:
            name = "chat_stream"
        with open(os.path.join(RECORDED, kind, "testdata", name + ".http"), "rb") as f:
            head, data = f.read().split(b"\n\n", 1)
        lines = head.decode().split("\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        self.reply(int(lines[0].split()[1]), headers.pop("Content-Type"), data, headers)

    def reply(self, status, kind, data, headers=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}


def talk_openai(client, model):
    """A conversation with a tool, plain and streamed, the reply sent back."""
    tools = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}, {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How is the weather?"}]
    r = client.chat.completions.create(model=model, messages=messages, tools=tools)
    m = r.choices[0].message
    check(f"openai, {model}: a text, two tools, usage", m.content == "Let me look: Größe" and r.choices[0].finish_reason == "tool_calls" and r.usage.total_tokens == 50
          and [t.function.name for t in m.tool_calls] == ["weather", "now"] and json.loads(m.tool_calls[0].function.arguments) == {"city": "Oslo"}, r)
    check(f"openai, {model}: the thought", m.reasoning_content == "Two cities.", m)

    again = messages + [m.to_dict()] + [{"role": "tool", "tool_call_id": t.id, "content": "sunny"} for t in m.tool_calls]
    r = client.chat.completions.create(model=model, messages=again, tools=tools)
    check(f"openai, {model}: results of tools go back", r.choices[0].message.content == "Let me look: Größe" and b"sunny" in Upstream.last, Upstream.last)

    stream = client.chat.completions.create(model=model, messages=messages, tools=tools, stream=True, stream_options={"include_usage": True})
    text, calls, last = "", {}, None
    for chunk in stream:
        last = chunk
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for t in choice.delta.tool_calls or []:
                calls.setdefault(t.index, ["", ""])
                calls[t.index][0] += t.function.name or ""
                calls[t.index][1] += t.function.arguments or ""
    check(f"openai, {model}: the same streamed", text == "Let me look: Größe" and [c[0] for c in calls.values()] == ["weather", "now"]
          and json.loads(calls[0][1]) == {"city": "Oslo"} and last.usage.total_tokens == 50, (text, calls, last))

    e = refused(lambda: client.chat.completions.create(model=model, messages=[{"role": "user", "content": "too fast"}]), openai.RateLimitError)
    check(f"openai, {model}: a 429 is a RateLimitError", isinstance(e, openai.RateLimitError) and e.response.headers["retry-after"] == "7", e)
    if model != "gpt":
        e = refused(lambda: client.chat.completions.create(model=model, messages=messages, logprobs=True), openai.BadRequestError)
        check(f"openai, {model}: what cannot be carried is named", isinstance(e, openai.BadRequestError) and e.param == "logprobs", e)
    e = refused(lambda: list(client.chat.completions.create(model=model, messages=[{"role": "user", "content": "break off"}], stream=True)), openai.APIError)
    check(f"openai, {model}: a stream that breaks is an error", isinstance(e, openai.APIError), e)


def talk_anthropic(client, model):
    """The same with Anthropic's client."""
    tools = [{"name": "weather", "input_schema": WEATHER}, {"name": "now", "input_schema": {"type": "object"}}]
    ask = {"model": model, "max_tokens": 2000, "system": "Be brief.", "tools": tools}
    messages = [{"role": "user", "content": [{"type": "text", "text": "How is the weather?", "cache_control": {"type": "ephemeral"}}]}]

    def seen(m):
        blocks = [b for b in m.content if b.type in ("text", "tool_use")]
        return (m.stop_reason == "tool_use" and m.usage.output_tokens == 30 and [b.type for b in blocks] == ["text", "tool_use", "tool_use"]
                and blocks[0].text == "Let me look: Größe" and blocks[1].input == {"city": "Oslo"} and blocks[2].input == {} and m.content[0].thinking == "Two cities.")

    m = client.messages.create(messages=messages, **ask)
    check(f"anthropic, {model}: a thought, a text, two tools, usage", seen(m), m)
    results = [{"type": "tool_result", "tool_use_id": b.id, "content": "sunny"} for b in m.content if b.type == "tool_use"]
    r = client.messages.create(messages=messages + [{"role": "assistant", "content": [b.to_dict() for b in m.content]}, {"role": "user", "content": results}], **ask)
    check(f"anthropic, {model}: results of tools go back", seen(r) and b"sunny" in Upstream.last, Upstream.last)
    with client.messages.stream(messages=messages, **ask) as stream:
        text = "".join(stream.text_stream)
        m = stream.get_final_message()
    check(f"anthropic, {model}: the same streamed", seen(m) and text == "Let me look: Größe", m)

    e = refused(lambda: client.messages.create(model=model, max_tokens=9, messages=[{"role": "user", "content": "too fast"}]), anthropic.RateLimitError)
    check(f"anthropic, {model}: a 429 is a RateLimitError", isinstance(e, anthropic.RateLimitError) and e.response.headers["retry-after"] == "7", e)
    if model != "claude":
        e = refused(lambda: client.messages.create(messages=messages, service_tier="standard_only", **ask), anthropic.BadRequestError)
        check(f"anthropic, {model}: what cannot be carried is named", isinstance(e, anthropic.BadRequestError) and e.body["error"]["param"] == "service_tier", e)

    def broken():
        with client.messages.stream(model=model, max_tokens=9, messages=[{"role": "user", "content": "break off"}]) as stream:
            return stream.get_final_message()
    e = refused(broken, anthropic.APIError)
    check(f"anthropic, {model}: a stream that breaks is an error", isinstance(e, anthropic.APIError), e)


def forms(one, two):
    """Images and structured outputs arrive in each provider's own form."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    for model, parts in {
        "claude": [b'"source":{"type":"base64","media_type":"image/png","data":"aGk="}', b'"output_config":{"format":{"type":"json_schema"'],
        "gemini": [b'"inlineData":{"mimeType":"image/png","data":"aGk="}', b'"responseJsonSchema":{'],
        "local": [b'"images":["aGk="]', b'"format":{'],
    }.items():
        one.chat.completions.create(model=model, messages=[{"role": "user", "content": [{"type": "text", "text": "x"}, image]}],
                                    response_format={"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}})
        check(f"openai, {model}: an image and a schema", all(part in Upstream.last for part in parts), Upstream.last)
    two.messages.create(model="gpt", max_tokens=9, output_config={"format": {"type": "json_schema", "schema": schema}}, messages=[
        {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}]}])
    check("anthropic, gpt: an image and a schema", b'"url":"data:image/png;base64,aGk="' in Upstream.last and b'"response_format":{"type":"json_schema"' in Upstream.last, Upstream.last)


def tasks(one, two):
    """A task in every text dialect."""
    text = "I want my money back"
    r = one.responses.create(model="support", input=text)
    check("a task answers a response", r.output_text == "refund" and r.tandem["step"] == "provider", r)
    events = list(one.responses.create(model="support", input=[{"role": "user", "content": text}], stream=True))
    check("streamed too", events[-1].type == "response.completed" and events[-1].response.output_text == "refund"
          and "".join(e.delta for e in events if e.type == "response.output_text.delta") == "refund", events)
    e = refused(lambda: one.responses.create(model="support", input=text, previous_response_id="resp_0"), openai.BadRequestError)
    check("it has no memory and says so", isinstance(e, openai.BadRequestError) and e.param == "previous_response_id", e)

    m = two.messages.create(model="support", max_tokens=9, messages=[{"role": "user", "content": text}])
    check("a task answers a message", m.content[0].text == "refund" and m.stop_reason == "end_turn" and m.tandem["step"] == "provider" and m.usage.cache_read_input_tokens == 16, m)
    with two.messages.stream(model="support", max_tokens=9, messages=[{"role": "user", "content": text}]) as stream:
        m = stream.get_final_message()
    check("streamed too, with the decision", m.content[0].text == "refund" and m.tandem["step"] == "provider", m)
    e = refused(lambda: two.messages.create(model="nobody", max_tokens=9, messages=[{"role": "user", "content": text}]), anthropic.NotFoundError)
    check("an unknown model is a NotFoundError", isinstance(e, anthropic.NotFoundError) and "support" in str(e), e)


def passing(one, two):
    """What passes through in its own dialect."""
    check("embeddings", one.embeddings.create(model="gpt", input="x", encoding_format="float").data[0].embedding == [0.5, -1.0])
    check("images", one.images.generate(model="gpt", prompt="a cat").data[0].b64_json == "aGk=")
    check("speech", one.audio.speech.create(model="gpt", voice="alloy", input="hi").read() == b"\x00\x01sound")
    sound = io.BytesIO(b"\x00\r\n--sound" * 1000)
    sound.name = "a.wav"
    check("transcriptions", one.audio.transcriptions.create(model="gpt", file=sound).text == "hello" and b"\r\nupstream\r\n" in Upstream.last)
    check("responses", one.responses.create(model="gpt", input="x", previous_response_id="resp_0").output_text == "hello")
    check("the models are listed for both", {m.id for m in one.models.list()} == {m.id for m in two.models.list()} == {"support", "gpt", "claude", "gemini", "local"})
    check("count_tokens", two.messages.count_tokens(model="claude", messages=[{"role": "user", "content": "x"}]).input_tokens == 14)


def main():
    binary = os.path.abspath(sys.argv[1])
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        t = Tandem(binary, folder, None, CONFIG.format(url=f"http://127.0.0.1:{upstream.server_address[1]}"))
        t.start()
        try:
            one = t.client()
            two = anthropic.Anthropic(base_url=f"http://127.0.0.1:{t.port}", api_key="unused", max_retries=0, timeout=30)
            tasks(one, two)
            passing(one, two)
            forms(one, two)
            for model in ("gpt", "claude", "gemini", "local"):
                talk_openai(one, model)
                talk_anthropic(two, model)
            check("asked to stop, it ends well", t.stop(signal.SIGTERM) == 0, t.said())
            said = t.said()
            check("neither keys nor texts are in its log", "upstream-key" not in said and "sk-very-secret" not in said and "weather" not in said, said)
        except BaseException:
            print("tandem said:\n" + t.said(), file=sys.stderr)
            raise
        finally:
            if t.process.poll() is None:
                t.process.kill()
                t.process.wait()
    upstream.shutdown()


if __name__ == "__main__":
    main()
