"""One choice that runs: what the gateway is told of its tokens, while they come and at the end.

Text goes out once it is certain, and a score once the text has where its token begins: what could still
become a stop string is held, and a stop string moves what it cuts off to the end of the text.
"""

from dataclasses import dataclass, field

from pratique.core.wire import Delta, Done, Finish, ScoredToken
from pratique.jobs.worker_job import Job
from pratique.jobs.worker_sampling import Drawer
from pratique.jobs.worker_text import TextStream


@dataclass(slots=True)
class Row:
    """One running sequence."""

    job: Job
    index: int
    drawer: Drawer
    text: TextStream
    newest: int = 0
    count: int = 0
    scores: list[ScoredToken] = field(default_factory=list)
    unsent: str = ""

    def note(self, scored: ScoredToken) -> None:
        """Keep the score of the token that comes next, with where in the text it begins."""
        self.scores.append(scored.model_copy(update={"offset": self.text.length}))

    def delta(self) -> Delta:
        """Return what is certain and was not sent yet."""
        certain = self.text.released
        sure = sum(score.offset < certain for score in self.scores)  # offsets do not fall
        scores, self.scores = tuple(self.scores[:sure]), self.scores[sure:]
        text, self.unsent = self.unsent, ""
        return Delta(id=self.job.request.id, index=self.index, text=text, scores=scores)

    def done(self, finish: Finish) -> Done:
        """Return what was not sent yet, and that nothing more will come."""
        text = self.unsent + self.text.finish()
        end = self.text.length
        return Done(
            id=self.job.request.id,
            index=self.index,
            text=text,
            finish=finish,
            completion_tokens=self.count,
            scores=tuple(_within(score, end) for score in self.scores),
        )


def _within(score: ScoredToken, end: int) -> ScoredToken:
    """Place what a stop string cut off, like the token that ends an answer, at the end of the text."""
    return score if score.offset <= end else score.model_copy(update={"offset": end})
