"""The smallest web application worth a container image."""

from flask import Flask

app = Flask(__name__)

TEXT = "Hello from the first commit"


@app.get("/")
def index():
    return TEXT + "\n"


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080)
