#!/usr/bin/env python3
"""Tries a built tandem with the official OpenAI client, as a new user would.

    python3 openai_python.py path/to/tandem

It starts a small OpenAI-compatible server as the large model, tandem in front
of it, and sends requests with nothing changed but base_url: plain and
streamed, to a task and passed through, good and bad. Then it goes on until a
student answers, kills tandem, starts it again and looks whether everything is
still there. Needs the package "openai"; everything stays on this machine.
"""

import http.server
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import openai

LABELS = ["delivery", "refund", "account", "other"]
PHRASES = {
    "delivery": ["my parcel has not arrived", "where is my package", "the courier never came", "when will the order be delivered"],
    "refund": ["I want my money back", "please refund the payment", "you charged me twice, return the money", "how long does a refund take"],
    "account": ["I cannot sign in", "my password does not work", "please change my email address", "close my account"],
    "other": ["do you sell gift cards", "what are your opening hours", "is there a shop in Leeds", "I like your new website"],
}
OPENINGS = ["", "Hello, ", "Hi there, ", "Good morning, ", "Excuse me, ", "One question: "]
CLOSINGS = ["", ", thanks", ", it is urgent", ". Regards, Kim", ", since Monday", ", as I said before", "?", "!"]
TEACHER = {phrase.lower(): label for label, phrases in PHRASES.items() for phrase in phrases}


def messages(seed):
    """Endless distinct messages, the same for the same seed."""
    draw = random.Random(seed)
    for n in itertools.count():
        label = draw.choices(LABELS, weights=[5, 3, 2, 1])[0]
        yield f"{draw.choice(OPENINGS)}{draw.choice(PHRASES[label])}{draw.choice(CLOSINGS)} (case {seed}{n:05d})"


class LargeModel(http.server.BaseHTTPRequestHandler):
    """The upstream: answers tasks by keyword, everything else by an echo."""

    protocol_version = "HTTP/1.1"
    calls = 0

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        LargeModel.calls += 1
        if self.headers.get("Authorization") != "Bearer upstream-key":
            return self.reply(401, {"error": {"message": "wrong key", "code": "invalid_api_key"}})
        text = next(m["content"] for m in body["messages"] if m["role"] == "user")
        if body.get("response_format", {}).get("type") == "json_schema":
            label = next((label for phrase, label in TEACHER.items() if phrase in text.lower()), "other")
            answer = json.dumps({"answer": label})
        else:
            answer = "echo of " + text
        if body.get("stream"):
            return self.stream(body, answer)
        self.reply(200, {
            "id": "up-1", "object": "chat.completion", "created": 1, "model": body["model"], "from_the_future": {"seen": body.get("also_new")},
            "choices": [{"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 40, "completion_tokens": 5, "total_tokens": 45},
        })

    def reply(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self, body, answer):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for word in answer.split(" "):
            chunk = {"id": "up-2", "object": "chat.completion.chunk", "created": 1, "model": body["model"],
                     "choices": [{"index": 0, "delta": {"content": word + " "}, "finish_reason": None}]}
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True


class Tandem:
    """A running tandem."""

    def __init__(self, binary, folder, upstream, rest=None):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.binary, self.folder = binary, folder
        with open(os.path.join(folder, "tandem.yaml"), "w") as f:
            f.write(f"listen: 127.0.0.1:{self.port}\ndata: {folder}/data\n")
            f.write(rest or f"""
providers:
  mock:
    openai:
      base_url: http://127.0.0.1:{upstream}/v1
      api_key: ${{UPSTREAM_KEY}}
    models:
      large: {{ model: mock-large, price: {{ input: 2.00, output: 8.00 }} }}
tasks:
  support:
    instructions: Which queue does the message belong to?
    teacher: large
    labels: [{", ".join(LABELS)}]
learning:
  first_fit_rows: 200
""")
        self.log = open(os.path.join(folder, "log.txt"), "ab")

    def start(self):
        self.process = subprocess.Popen([self.binary, "serve", "--config", os.path.join(self.folder, "tandem.yaml")],
                                        env={**os.environ, "UPSTREAM_KEY": "upstream-key"}, stdout=self.log, stderr=self.log)
        deadline = time.time() + 20
        while True:
            try:
                self.get("/readyz")
                return
            except OSError:
                if self.process.poll() is not None or time.time() > deadline:
                    raise SystemExit("tandem did not start:\n" + self.said())
                time.sleep(0.05)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as r:
            return r.read()

    def stop(self, how):
        self.process.send_signal(how)
        return self.process.wait(timeout=30)

    def said(self):
        with open(os.path.join(self.folder, "log.txt"), errors="replace") as f:
            return f.read()[-4000:]

    def client(self):
        return openai.OpenAI(base_url=f"http://127.0.0.1:{self.port}/v1", api_key="unused", max_retries=0, timeout=30)


def check(what, ok, seen=None):
    print(("ok   " if ok else "FAIL ") + what + ("" if ok else f": {seen!r}"), flush=True)
    if not ok:
        raise SystemExit(1)


def ask(client, text, **more):
    return client.chat.completions.create(model="support", messages=[{"role": "user", "content": text}], **more)


def refused(call, error):
    try:
        return call()
    except error as e:
        return e


def first_contact(t, client):
    check("the models are listed", {"support", "large"} <= {m.id for m in client.models.list().data})

    r = ask(client, "Hello, my parcel has not arrived")
    check("a task answers like a completion", r.choices[0].message.content == "delivery" and r.choices[0].finish_reason == "stop", r)
    check("the decision rides along", r.tandem["step"] == "provider" and r.tandem["certified"] and r.tandem["cost_usd"] > 0, r.tandem)

    raw = client.chat.completions.with_raw_response.create(model="support", messages=[{"role": "user", "content": "please refund the payment"}])
    check("and in headers", raw.headers["x-tandem-step"] == "provider" and raw.headers["x-tandem-trace"], dict(raw.headers))

    chunks = list(ask(client, "I cannot sign in", stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    check("a task streams", text == "account" and chunks[-1].usage is not None, chunks)

    r = client.chat.completions.create(model="large", messages=[{"role": "user", "content": "tell me more"}], extra_body={"also_new": 7})
    check("another model passes through", r.choices[0].message.content == "echo of tell me more", r)
    check("with fields nobody knows", r.from_the_future == {"seen": 7}, r)
    stream = client.chat.completions.create(model="large", messages=[{"role": "user", "content": "a b c"}], stream=True)
    check("streamed too", "".join(c.choices[0].delta.content for c in stream) == "echo of a b c ")

    e = refused(lambda: client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "x"}]), openai.NotFoundError)
    check("an unknown model is a NotFoundError that says what there is", isinstance(e, openai.NotFoundError) and e.code == "not_found" and "support" in str(e), e)
    e = refused(lambda: ask(client, "   "), openai.BadRequestError)
    check("an empty text is a BadRequestError", isinstance(e, openai.BadRequestError) and e.code == "invalid_request", e)
    e = refused(lambda: ask(client, [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]), openai.BadRequestError)
    check("so is an image, with a code of its own", isinstance(e, openai.BadRequestError) and e.code == "unsupported_modality", e)
    e = refused(lambda: ask(client, "x" * (20 << 20)), openai.APIStatusError)
    check("twenty megabytes are too large", isinstance(e, openai.APIStatusError) and e.status_code == 413, e)


def take_over(client):
    """Sends traffic until the student has most of it; returns its version."""
    deadline, latest, sent = time.time() + 120, [], 0
    for text in messages(1):
        d = ask(client, text).tandem
        sent += 1
        latest = (latest + [d])[-100:]
        if sum(d["step"] == "student" for d in latest) >= 60:
            break
        if time.time() > deadline:
            check("a student takes over", False, f"{sent} requests, last decision {d}")
    check(f"a student takes over (after {sent} requests)", True)
    return next(d for d in reversed(latest) if d["step"] == "student")


def by_student(client, **more):
    """Asks until the student answers."""
    for text in itertools.islice(messages(2), 100):
        if more:
            chunks = list(ask(client, text, **more))
            d = next((c.tandem for c in chunks if getattr(c, "tandem", None)), None)
            answer = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        else:
            r = ask(client, text)
            d, answer = r.tandem, r.choices[0].message.content
        if d and d["step"] == "student":
            return d, answer
    raise SystemExit("no request of 100 was answered by the student")


def learn_from_log(binary, folder):
    path = os.path.join(folder, "log.jsonl")
    with open(path, "w") as f:
        for text in itertools.islice(messages(3), 2000):
            label = next(label for phrase, label in TEACHER.items() if phrase in text.lower())
            f.write(json.dumps({"message": text, "answer": label}) + "\n")
    out = subprocess.run([binary, "learn", "--from", path, "--text", "message", "--teacher", "answer", "--json"],
                         capture_output=True, text=True, timeout=120)
    check("an existing log gives a report", out.returncode == 0, out.stderr)
    report = json.loads(out.stdout)
    check("with a valid certificate", report["certificate"]["status"] == "valid" and report["certificate"]["coverage"] > 0.5, report)


def main():
    binary = os.path.abspath(sys.argv[1])
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), LargeModel)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        t = Tandem(binary, folder, upstream.server_address[1])
        t.start()
        try:
            client = t.client()
            first_contact(t, client)
            d = take_over(client)
            check("its answer is certified, has a reason in words and saves money", d["certified"] and d["why"] and d["saved_usd"] > 0, d)
            d, answer = by_student(client, stream=True)
            check("it streams", answer in LABELS, (d, answer))
            r = ask(client, "where is my package", extra_headers={"X-Tandem-Force": "teacher"})
            check("the caller can ask for the large model", r.tandem["step"] == "provider", r.tandem)

            d, _ = by_student(client)
            time.sleep(1)  # what is queued is stored within moments
            t.stop(signal.SIGKILL)
            t.start()
            after, _ = by_student(t.client())
            check("killed and started again, the same student serves", after["model"] == d["model"], (d, after))
            trace = json.loads(t.get("/v1/traces/" + d["trace_id"]))
            check("and the trace is there", d["trace_id"] in json.dumps(trace), trace)

            check("asked to stop, it ends well", t.stop(signal.SIGTERM) == 0, t.said())
            said = t.said()
            check("neither keys nor texts are in its log", "upstream-key" not in said and "(case " not in said and "parcel" not in said)
        except BaseException:
            print("tandem said:\n" + t.said(), file=sys.stderr)
            raise
        finally:
            if t.process.poll() is None:
                t.process.kill()
                t.process.wait()
        learn_from_log(binary, folder)
    upstream.shutdown()


if __name__ == "__main__":
    main()
