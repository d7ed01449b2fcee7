"""Flower ClientApp: unpack the message, let each scenario of the node answer, pack the reply."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from pfmsmtrec_flwr.federation.client.starting import offer_start
from pfmsmtrec_flwr.federation.node import answer, hello
from pfmsmtrec_flwr.flower_internals import restart_dead_actors
from pfmsmtrec_flwr.log import log_to_stderr
from pfmsmtrec_flwr.methods import client_of

log_to_stderr()
restart_dead_actors()
app = ClientApp()


@app.query("hello")
def say_hello(message: Message, context: Context) -> Message:
    """Answer with the scenarios that this node hosts."""
    return Message(hello(message.content, context), reply_to=message)


@app.query("start")
def start(message: Message, context: Context) -> Message:
    """Answer with the shared parts of the models from which the scenarios start."""
    return Message(answer(message.content, context, client_of, offer_start), reply_to=message)


@app.train("local")
def train(message: Message, context: Context) -> Message:
    """Measure the received parameters, and train on."""
    content = answer(message.content, context, client_of, lambda client, order, incoming: client.train(order, incoming))
    return Message(content, reply_to=message)


@app.evaluate("validation")
def validate(message: Message, context: Context) -> Message:
    """Measure the received parameters on validation rows."""
    content = answer(
        message.content, context, client_of, lambda client, order, incoming: client.validate(order, incoming)
    )
    return Message(content, reply_to=message)


@app.evaluate("test")
def test(message: Message, context: Context) -> Message:
    """Measure the selected round's model on test rows, and save it."""
    content = answer(message.content, context, client_of, lambda client, order, incoming: client.test(order, incoming))
    return Message(content, reply_to=message)
