"""Multimodal chat models as namers of photos, by the protocol of TaxoNet's Table 5."""

from taxonet.benchmark.chat.endpoints import PROTOCOLS, Endpoint
from taxonet.benchmark.chat.figures import level_figures
from taxonet.benchmark.chat.parsing import OUTCOMES, Naming, ReplyReader
from taxonet.benchmark.chat.prompts import PERSONA, PROMPTS, question_text
from taxonet.benchmark.chat.questions import Question, Reply
from taxonet.benchmark.chat.run import ChatBenchmark, benchmark_chat

__all__ = [
    "OUTCOMES",
    "PERSONA",
    "PROMPTS",
    "PROTOCOLS",
    "ChatBenchmark",
    "Endpoint",
    "Naming",
    "Question",
    "Reply",
    "ReplyReader",
    "benchmark_chat",
    "level_figures",
    "question_text",
]
