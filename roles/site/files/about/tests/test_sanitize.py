from about import cli, people
from about.people import Person
from about.sanitize import invented, sanitize


def everything(engine):
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(people.people.select())]


def test_nothing_that_people_wrote_is_left(parts):
    jane = Person("jane", "Jane Roe", "Boss", "Likes tea.", "ab.jpg")
    people.add(parts.engine, jane, by="jdoe")
    john = Person("person1", "John Doe", "Aide", "")  # has the login that jane gets
    people.add(parts.engine, john, by="jdoe")
    assert sanitize(parts.engine) == 2
    rows = everything(parts.engine)
    assert [row["login"] for row in rows] == ["person1", "person2"]
    assert [row["name"] for row in rows] == [invented(1), invented(2)]
    words = ("Jane", "Boss", "tea", "ab.jpg", "John", "Aide", "jdoe")
    assert not [word for word in words if word in repr(rows)]


def test_a_second_run_changes_nothing(parts):
    people.add(parts.engine, Person("jane", "Jane Roe", "Boss", "Likes tea."), by="jdoe")
    sanitize(parts.engine)
    once = everything(parts.engine)
    assert sanitize(parts.engine) == 1
    assert everything(parts.engine) == once


def test_an_empty_database(parts):
    assert sanitize(parts.engine) == 0


def test_the_command_says_how_many(parts, config):
    people.add(parts.engine, Person("jane", "Jane Roe", "Boss", "Likes tea."), by="jdoe")
    assert cli.sanitize(config) == {"changed": True, "people": 1}
