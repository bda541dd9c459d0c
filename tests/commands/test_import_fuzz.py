from tests.bench.fuzz_imports import imports


def test_odd_files_are_imported_or_refused_in_words(capsys):
    outcomes = imports(150, seed=1)
    assert set(outcomes) == {"imported", "refused in words"}, capsys.readouterr().err
    assert min(outcomes.values()) > 30
    assert imports(20, seed=2) == imports(20, seed=2)
