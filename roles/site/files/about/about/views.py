"""The pages."""

from __future__ import annotations

import datetime
import json
import logging
import re
import zlib
from pathlib import Path
from typing import Any

import redis
from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    flash,
    redirect,
    render_template,
    request,
    session,
    url_for,
)

from about import people
from about.app import services
from about.forms import LIMITS, PersonForm
from about.health import without_details
from about.people import Changed, LoginTaken, Person, Stored
from about.photos import PhotoRefused, read_upload
from about.sessions import csrf_matches, csrf_token

MAX_QUERY = 100
#: Where signing in may lead back to: the site's own pages.
OWN_PATH = re.compile(r"/|(/[A-Za-z0-9._-]+)+")
TINTS = 8
#: As wide as the database's column.
MAX_USER = 255

pages = Blueprint("pages", __name__)
log = logging.getLogger(__name__)


@pages.get("/")
def index() -> Response:
    query, found, cache = _people()
    response = current_app.make_response(render_template("index.html", people=found, query=query))
    response.headers["About-Cache"] = cache
    return response


@pages.get("/people.json")
def index_json() -> Response:
    query, found, cache = _people()
    response = _json({"query": query, "count": len(found), "people": found})
    response.headers["About-Cache"] = cache
    return response


@pages.get("/people/<login>")
def show(login: str) -> str:
    person = _find(login)
    return render_template("person.html", person=_public(person), stored=person)


@pages.route("/add", methods=["GET", "POST"])
def add() -> Any:
    if request.method != "POST":
        return _form(PersonForm.empty()) if _user() else _ask_to_sign_in(request.path)
    return _store(PersonForm.read(request.form), None)


@pages.route("/people/<login>/edit", methods=["GET", "POST"])
def edit(login: str) -> Any:
    if request.method != "POST":
        person = _find(login)
        form = PersonForm.of(person)
        return _form(form, person) if _user() else _ask_to_sign_in(request.path)
    person = people.find(services().engine, login)
    form = PersonForm.read(request.form, login=login)
    return _store(form, person) if person else _removed(form)


@pages.post("/people/<login>/remove")
def remove(login: str) -> Any:
    person = _find(login)
    if not _user():
        return _ask_to_sign_in(url_for("pages.edit", login=login))
    if not csrf_matches(session, request.form.get("csrf", "")):
        flash("The page was too old: please try again.", "error")
        return redirect(url_for("pages.show", login=login), 303)
    try:
        people.remove(services().engine, login, request.form.get("version", ""))
    except Changed:
        flash(f"{person.name} was changed meanwhile, and not removed: please look again.", "error")
        return redirect(url_for("pages.show", login=login), 303)
    services().cache.invalidate()
    if person.photo:
        services().photos.remove(person.photo)
    log.info("%s removed %s", _user(), login)
    flash(f"{person.name} was removed.")
    return redirect(url_for("pages.index"), 303)


@pages.get("/login")
def sign_in() -> Response:
    """The web server asks for the password, and lets through only who knows it."""
    user = request.headers.get(services().config.user_header, "")
    if not 0 < len(user) <= MAX_USER:
        abort(403, "The web server does not say who you are.")
    _need_sessions()
    session.renew()
    session["user"] = user
    log.info("%s signed in", user)
    after = request.args.get("next", "/")
    return redirect(after if OWN_PATH.fullmatch(after) else "/", 303)


@pages.post("/logout")
def sign_out() -> Response:
    if csrf_matches(session, request.form.get("csrf", "")):
        session.renew()
        flash("You are signed out. Your browser knows your password until you close it.")
    return redirect(url_for("pages.index"), 303)


@pages.get("/healthz")
def healthz() -> Response:
    report = services().health.report(services().revision)
    for name, check in report["checks"].items():
        if check["status"] != "ok":
            log.error("health: %s: %s", name, check["detail"])
    response = _json(without_details(report), 200 if report["status"] == "ok" else 503)
    response.headers["Cache-Control"] = "no-store"
    return response


@pages.app_template_global()
def asset(name: str) -> str:
    """A static file's address, which changes with the file: it may be kept for long."""
    content = Path(current_app.static_folder, name).read_bytes()
    return url_for("static", filename=name, v=f"{zlib.crc32(content):08x}")


@pages.app_template_global()
def form_token() -> str:
    """For forms only: one without a session is sent in vain."""
    _need_sessions()
    return csrf_token(session)


@pages.app_template_global()
def signed_in() -> str | None:
    return session.get("user")


@pages.app_template_global()
def asks_to_sign_in() -> bool:
    return not services().config.default_user


@pages.app_template_filter()
def moment(when: datetime.datetime) -> str:
    return f"{when:%-d %B %Y, %H:%M} UTC"


@pages.app_template_filter()
def initials(name: str) -> str:
    words = name.split()
    return "".join(word[0] for word in (words[:1] + words[1:][-1:])).upper()


@pages.app_template_filter()
def tint(login: str) -> int:
    """The same colour for the same person, everywhere."""
    return zlib.crc32(login.encode()) % TINTS


def _need_sessions() -> None:
    """Redis must answer now: later, when the session is saved, no page can say that it doesn't."""
    services().queue.connection.ping()


def _user() -> str:
    """Who changes something; empty: nobody who may."""
    return session.get("user") or services().config.default_user


def _ask_to_sign_in(after: str) -> Response:
    return redirect(url_for("pages.sign_in", next=after), 303)


def _people() -> tuple[str, list[dict[str, Any]], str]:
    """The query, who matches it, and whether that came from the cache."""
    query = " ".join(request.args.get("q", "").split())[:MAX_QUERY]
    if query:
        return query, _read(query), "none"
    cached, generation = services().cache.get()
    if cached is not None:
        return query, cached, "hit"
    found = _read("")
    services().cache.put(generation, found)
    return query, found, "miss"


def _read(query: str) -> list[dict[str, Any]]:
    return [_public(person) for person in people.every(services().engine, query)]


def _public(person: Person) -> dict[str, Any]:
    """A person as pages and JSON show them."""
    photo = thumbnail = None
    if person.photo:
        photo = f"/media/photos/{person.photo}"
        if services().photos.thumbnail(person.photo).exists():
            thumbnail = f"/media/thumbnails/{person.photo}"
    return {
        "login": person.login,
        "name": person.name,
        "title": person.title,
        "bio": person.bio,
        "photo": photo,
        "thumbnail": thumbnail,
    }


def _find(login: str) -> Stored:
    person = people.find(services().engine, login)
    if person is None:
        abort(404, "Nobody here has this login.")
    return person


def _form(form: PersonForm, person: Stored | None = None, status: int = 200) -> Any:
    page = render_template(
        "form.html",
        form=form,
        limits=LIMITS,
        person=_public(person) if person else None,
        megabytes=(current_app.config["MAX_CONTENT_LENGTH"] // (1024 * 1024)),
    )
    return page, status


def _conflict(form: PersonForm) -> Any:
    """Somebody else saved the person first: show both, to choose from."""
    now = people.find(services().engine, form.values["login"])
    if now is None:
        return _removed(form)
    photo = bool(request.files.get("photo"))
    fields = form.differing(now)
    if not fields and not photo:
        flash(f"{now.name} was changed, by somebody else in the same way.")
        return redirect(url_for("pages.show", login=now.login), 303)
    page = render_template("conflict.html", form=form, person=now, fields=fields, photo=photo)
    return page, 409


def _removed(form: PersonForm) -> Any:
    form.errors["form"] = (
        f"{form.values['name'] or form.values['login']} was removed meanwhile. "
        "Nothing is lost: send this to add them again."
    )
    return _form(form, None, 409)


def _store(form: PersonForm, before: Stored | None) -> Any:
    """Check all there is to check, then photo, database, cache, queue, in this order:
    whatever stops it halfway leaves nothing worse than a file that nobody refers to."""
    parts = services()
    user = _user()
    if not user:
        form.errors["form"] = (
            "You are no longer signed in. Nothing is lost: sign in again, then send this."
        )
    elif not csrf_matches(session, request.form.get("csrf", "")):
        form.errors["form"] = "The page was too old. Nothing is lost: please send it again."
    upload = request.files.get("photo")
    image = None
    if upload and upload.filename:
        try:
            image = read_upload(upload.stream)
        except PhotoRefused as refusal:
            form.errors["photo"] = str(refusal)
    if form.errors:
        return _form(form, before, 422)

    old_photo = before.photo if before else None
    new_photo = parts.photos.save(image) if image else None
    person = form.person(new_photo or old_photo)
    try:
        if before:
            people.change(parts.engine, person, form.version, user)
        else:
            people.add(parts.engine, person, user)
    except LoginTaken:
        _forget(new_photo)
        form.errors["login"] = "Somebody here has this login already."
        return _form(form, before, 422)
    except Changed:
        _forget(new_photo)
        return _conflict(form)
    except Exception:
        _forget(new_photo)
        raise
    parts.cache.invalidate()
    if new_photo:
        _forget(old_photo)
        try:
            parts.queue.make_thumbnail(new_photo)
        except redis.RedisError as error:
            # The worker looks for photos without a thumbnail when it starts.
            log.warning("thumbnail of %s must wait: %s", new_photo, error)
    log.info("%s %s %s", user, "changed" if before else "added", person.login)
    flash(f"{person.name} was {'changed' if before else 'added'}.")
    return redirect(url_for("pages.show", login=person.login), 303)


def _forget(photo: str | None) -> None:
    if photo:
        services().photos.remove(photo)


def _json(value: Any, status: int = 200) -> Response:
    return Response(
        json.dumps(value, ensure_ascii=False, indent=2) + "\n",
        status=status,
        mimetype="application/json",
    )
