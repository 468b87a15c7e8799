"""The page's routes: an ASGI application whose page only answers GET. What it shows is `view`'s.

Works without JavaScript and without a network: no asset comes from elsewhere, and the policy in each answer's headers
forbids it. An answer has an ETag, so that a window that looks every two seconds costs little.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from mlops_sdk.errors import InputError, MlopsError, NotFoundError
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.agent.duty import DutyState
from mlops_sdk.rollout.agent.page.differences import difference_view
from mlops_sdk.rollout.agent.page.look import Looker, Problem
from mlops_sdk.rollout.agent.page.view import EnvironmentView, environment_view
from mlops_sdk.rollout.questions.compare import compare

_HERE = Path(__file__).parent
_STATIC = {"page.css": "text/css", "page.js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:;"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")

templates = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    # Read once, below: a checkout that changes under a running agent must not mix new templates with old code.
    auto_reload=False,
)


def _ticks(text: str) -> Markup:
    """Text with what stands between backticks as code; all of it is escaped first."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704


templates.filters["ticks"] = _ticks
for _name in templates.list_templates():
    templates.get_template(_name)


@dataclass(frozen=True)
class Page:
    """What the routes work with; `states` says what is known of the duties of `environment`'s agent."""

    looker: Looker
    environment: str
    states: Callable[[], Sequence[DutyState]]

    @property
    def project(self) -> Project:
        """The project whose environments are shown."""
        return self.looker.project

    def view(self, environment: str) -> EnvironmentView:
        """The view of an environment. Raises NotFoundError for one the project lacks."""
        return environment_view(self.looker.look(environment), self.duties(environment))

    def duties(self, environment: str) -> Sequence[DutyState]:
        """The duties of this process, where they are those of `environment`."""
        return self.states() if environment == self.environment else ()


def create_page(
    project: Project,
    environment: str,
    states: Callable[[], Sequence[DutyState]],
    *,
    allowed_hosts: Sequence[str] = LOOPBACK_NAMES,
    more_routes: Sequence[BaseRoute] = (),
    on_shutdown: Callable[[], None] = lambda: None,
) -> Starlette:
    """Return the application. Requests that name another host than `allowed_hosts` are refused ("*" allows all).

    `more_routes` are asked first and look after themselves: they know who may ask, under whatever name. `on_shutdown`
    is called when the server begins to end.
    """
    page = Page(Looker(project), environment, states)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        on_shutdown()

    application = Starlette(
        routes=[
            *more_routes,
            Mount(
                "",
                routes=[
                    Route("/", _environment, methods=["GET"]),
                    Route("/livez", _livez, methods=["GET"]),
                    Route("/duties", _duties, methods=["GET"]),
                    Route("/env/{name}", _environment, methods=["GET"]),
                    Route("/env/{name}/diff", _difference, methods=["GET"]),
                    Route("/static/{file}", _static, methods=["GET"]),
                ],
                middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(allowed_hosts))],
            ),
        ],
        exception_handlers={MlopsError: _problem},
        lifespan=lifespan,
    )
    application.state.page = page
    return application


def _page(request: Request) -> Page:
    page = request.app.state.page
    assert isinstance(page, Page)
    return page


# Not coroutines: they ask servers, so they run in threads of Starlette's pool.


def _environment(request: Request) -> Response:
    page = _page(request)
    name = request.path_params.get("name", page.environment)
    view = page.view(name)
    cards = [view.card() if other == name else page.view(other).card() for other in page.project.environments]
    return _html(request, "environment.html", page, view=view, cards=cards, duties=page.duties(name))


def _difference(request: Request) -> Response:
    page = _page(request)
    name = request.path_params["name"]
    view = page.view(name)
    old, new = request.query_params.get("old", ""), request.query_params.get("new", "")
    chosen = {"old": old, "new": new}
    try:
        for release in (old, new):
            # Only what is in the ledger: `compare` would also read a file of that name.
            if release not in view.comparable:
                raise NotFoundError(f"{name} has no release {release!r}")
        found, answer = compare(page.project, name, old, new)
    except (MlopsError, psycopg.OperationalError) as error:
        status = 404 if isinstance(error, NotFoundError) else 503
        problem = Problem.of(error) if isinstance(error, MlopsError) else Problem.of_postgres(error, name)
        return _html(
            request, "difference.html", page, status, view=view, chosen=chosen, problem=problem, diff=None
        )
    diff = difference_view(found, answer)
    return _html(request, "difference.html", page, view=view, chosen=chosen, problem=None, diff=diff)


def _duties(request: Request) -> Response:
    page = _page(request)
    document = {"environment": page.environment, "duties": [state.document() for state in page.states()]}
    return JSONResponse(document, headers=_HEADERS)


async def _livez(_: Request) -> Response:
    return JSONResponse({"alive": True}, headers=_HEADERS)


async def _static(request: Request) -> Response:
    name = request.path_params["file"]
    if name not in _STATIC:
        return Response(status_code=404, headers=_HEADERS)
    return FileResponse(_HERE / "static" / name, media_type=_STATIC[name], headers=_HEADERS)


def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, MlopsError)
    status = 404 if isinstance(error, NotFoundError) else 400 if isinstance(error, InputError) else 503
    return _html(request, "problem.html", _page(request), status, problem=Problem.of(error))


def _html(request: Request, template: str, page: Page, status: int = 200, **values: Any) -> Response:
    main = templates.get_template(template).render(own=page.environment, **values)
    etag = f'"{hashlib.sha256(main.encode()).hexdigest()[:32]}"'
    headers = {**_HEADERS, "ETag": etag}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    text = templates.get_template("layout.html").render(
        # Rendered by the line above, with every value in it escaped.
        main=Markup(main),  # noqa: S704
        app=page.project.app,
        title=values["view"].name if "view" in values else page.environment,
    )
    return Response(text, status, headers, media_type="text/html")
