"""The showroom: a list that a script fills while it is scrolled, so that it needs a browser."""

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

PER_REQUEST = 20
PIECES = 60

PAGE = """<!doctype html><meta charset=utf-8><title>Showroom</title>
<h1>Showroom of the demo, with synthetic pieces</h1><main></main>
<img src="/showroom/picture.png" alt=""><script src="/showroom/list.js"></script>"""

SCRIPT = """let next = 1, busy = false;
async function more() {
  if (busy || next === null) return;
  busy = true;
  const answer = await (await fetch(`/showroom/pieces?page=${next}`)).json();
  for (const piece of answer.pieces) {
    const article = document.createElement("article");
    article.className = "piece";
    article.style.height = "120px";
    article.innerHTML = `<h2>${piece.name}</h2><i class=sku>${piece.sku}</i>` +
      `<b class=price>${piece.price}</b>`;
    document.querySelector("main").append(article);
  }
  next = answer.next;
  busy = false;
}
addEventListener("scroll", () => {
  if (innerHeight + scrollY >= document.documentElement.scrollHeight - 50) more();
});
more();
"""


def _pieces(request: Request) -> Response:
    text = request.query_params.get("page", "1")
    page = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 1
    numbers = range((page - 1) * PER_REQUEST + 1, min(page * PER_REQUEST, PIECES) + 1)
    found = [
        {"sku": f"S{number:03}", "name": f"Piece {number}", "price": f"${number * 19:,}.90"}
        for number in numbers
    ]
    following = page + 1 if page * PER_REQUEST < PIECES else None
    return JSONResponse({"pieces": found, "next": following})


def showroom_routes() -> list[Route]:
    """Return the page, its script, and the pieces that the script requests."""
    return [
        Route("/showroom", lambda _: HTMLResponse(PAGE)),
        Route("/showroom/list.js", lambda _: Response(SCRIPT, media_type="text/javascript")),
        Route("/showroom/pieces", _pieces),
    ]
