"""What a request gets instead of an answer, in OpenAI's form."""

from typing import Any

CLOSE = {"Connection": "close"}  # where the rest of a body is not waited for
_KINDS = {404: "not_found_error", 408: "timeout_error", 429: "rate_limit_error"}


class Problem(Exception):  # noqa: N818
    """A request that is not answered: its status, and why."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,  # the field that is wrong
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ):
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers or {}

    def record(self) -> dict[str, Any]:
        """As JSON."""
        usual = "server_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": self.message,
                "type": _KINDS.get(self.status, usual),
                "param": self.param,
                "code": self.code,
            }
        }


def bad(param: str | None, rule: str, code: str | None = None) -> Problem:
    """A field that breaks a rule."""
    return Problem(400, f"{param}: {rule}" if param else rule, param, code)


def ending() -> Problem:
    """What is refused while the server ends."""
    return Problem(503, "the server is ending: ask another", code="shutting_down")
