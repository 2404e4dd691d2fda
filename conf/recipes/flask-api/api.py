"""The API: it believes the headers, since nobody but crossgate can reach it."""

import os

from flask import Flask, jsonify, request

app = Flask(__name__)


@app.get("/healthz")
def healthz():
    return jsonify(ok=True)


@app.get("/api/<org>/projects")
def projects(org):
    return jsonify(user=request.headers["x-user-id"], org=org, role=request.headers.get("x-user-role"), projects=[])


@app.post("/api/<org>/projects")
def create(org):
    return jsonify(by=request.headers["x-user-id"], org=org), 201


if __name__ == "__main__":
    app.run("127.0.0.1", int(os.environ.get("PORT", "5000")))
