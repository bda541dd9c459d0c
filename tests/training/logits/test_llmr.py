"""LLMR and KETCHUP: rewards and returns by hand, and a student that takes over its teacher's
preference."""

import math
import tomllib

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainingArguments

from pipeline.config.file import validate
from pipeline.models import student
from pipeline.models.likelihood import answer_logits, padded
from pipeline.models.teacher import Teacher
from pipeline.models.tiles import in_tiles
from pipeline.rows.row import content_id
from pipeline.training.logits import llmr
from pipeline.training.losses import reward
from tests.conftest import rows
from tests.models import small
from tests.small_run import SMALL, manifest, run

# Three tokens of a vocabulary of four; the tokens written are 0, 2, 3, the last of which is eos.
LOGITS = torch.tensor([[[4.0, 0.0, 2.0, 2.0], [1.0, 1.0, 5.0, 1.0], [0.0, 3.0, 0.0, 1.0]]])
WRITTEN = torch.tensor([[0, 2, 3]])
THERE = torch.ones(1, 3)


def taken_and_values(kind="max"):
    f = reward.action_values(LOGITS)
    return f.gather(-1, WRITTEN[..., None])[..., 0], reward.state_values(f, kind)


def test_action_values_are_logits_less_their_mean():
    expected = [[[2.0, -2.0, 0.0, 0.0], [-1.0, -1.0, 3.0, -1.0], [-1.0, 2.0, -1.0, 0.0]]]
    assert reward.action_values(LOGITS).tolist() == expected


def test_rewards_and_returns_of_three_tokens_by_hand():
    taken, values = taken_and_values()
    assert taken.tolist() == [[2.0, 3.0, 0.0]]
    assert values.tolist() == [[2.0, 3.0, 2.0]]
    given = reward.rewards(taken, values, THERE)
    assert given.tolist() == [[2.0 - 3.0, 3.0 - 2.0, 0.0]]
    assert reward.returns(given, THERE).tolist() == [[0.0, 1.0, 0.0]]


def test_two_step_returns_by_hand():
    """KETCHUP with K = 2: the first token's step ends in the third state, and the second's, which
    is shorter, there too; the last token's reward is in every return."""
    taken, values = taken_and_values()
    given = reward.rewards(taken, values, THERE, k=2)
    assert given.tolist() == [[2.0 - 2.0, 3.0 - 2.0, 0.0]]
    assert reward.returns(given, THERE, k=2).tolist() == [[0.0, 1.0, 0.0]]


def test_four_step_returns_of_ten_tokens_by_hand():
    """Ten tokens with f = 10, 9, ..., 1 in states whose best is 20, 19, ..., 11. From the first the
    steps lead to the fifth, the ninth and, two tokens short, to the last: 10 less the regrets there,
    of 10 each. Of steps that would end behind the last token, seven of ten do."""
    taken = torch.arange(10.0, 0.0, -1.0)[None]
    values = taken + 10.0
    there = torch.ones(1, 10)
    given = reward.rewards(taken, values, there, k=4)
    assert given.tolist() == [[-6.0, -6.0, -6.0, -6.0, -6.0, -6.0, -7.0, -8.0, -9.0, 1.0]]
    # one regret of 10 for every state that is met on the way: 3, 2, 2, 2, 2, 1, 1, 1, 1, 0 of them
    expected = [-20.0, -11.0, -12.0, -13.0, -14.0, -5.0, -6.0, -7.0, -8.0, 1.0]
    assert reward.returns(given, there, k=4).tolist() == [expected]
    without_the_last = [-10.0, -11.0, -2.0, -3.0, -4.0, -5.0, 4.0, 3.0, 2.0, 1.0]
    apart = [left - right for left, right in zip(without_the_last, expected, strict=True)]
    assert apart == [10.0, 0.0, 10.0, 10.0, 10.0, 0.0, 10.0, 10.0, 10.0, 0.0]


@pytest.mark.parametrize("k", [3, 4, 5, 6, 9])
def test_a_k_beyond_the_answer_is_a_step_to_its_last_token(k):
    taken, values = taken_and_values()
    given = reward.rewards(taken, values, THERE, k)
    assert reward.returns(given, THERE, k).tolist() == [[2.0 - 2.0 + 0.0, 3.0 - 2.0 + 0.0, 0.0]]


def test_the_softmax_value_is_the_mean_under_softmax():
    f = torch.tensor([0.0, math.log(3.0)])  # weights 1/4 and 3/4
    assert reward.state_values(f, "softmax").item() == pytest.approx(0.75 * math.log(3.0))


@pytest.mark.parametrize("k", [1, 2, 3, 4, 9])
def test_a_return_is_the_first_value_less_the_regret_of_the_tokens_met(k):
    """G_t = f(s_t, a_t) - sum over i = t + k, t + 2k, ..., last of max f(s_i, .) - f(s_i, a_i), for
    answers of any length."""
    torch.manual_seed(0)
    f = reward.action_values(torch.randn(5, 7, 11))
    written, lengths = torch.randint(11, (5, 7)), torch.tensor([7, 1, 3, 5, 6])
    there = (torch.arange(7) < lengths[:, None]).float()
    taken, values = f.gather(-1, written[..., None])[..., 0], reward.state_values(f, "max")
    found = reward.returns(reward.rewards(taken, values, there, k), there, k)
    for row, length in enumerate(lengths.tolist()):
        for t in range(7):
            met = {*range(t + k, length, k), length - 1} - {t}
            regret = sum((values[row, i] - taken[row, i]).item() for i in met)
            expected = taken[row, t].item() - regret if t < length else 0.0
            assert found[row, t].item() == pytest.approx(expected, abs=1e-5)


def test_advantages_are_divided_weighed_by_the_ratio_and_then_cut():
    returns = torch.tensor([[30.0, -5.0, 4.0, 9.0]])
    baseline = torch.tensor([[0.0, 0.0, 2.0, 0.0]])
    ratio = torch.tensor([[1.0, 2.0, 0.5, 8.0]])
    cut = reward.advantages(returns, baseline, ratio, 10.0, 1.0)
    assert cut[0].tolist() == pytest.approx([1.0, -1.0, 0.1, 1.0])  # 8 times 0.9 weighs 1
    uncut = reward.advantages(returns, baseline, ratio, 10.0, None)
    assert uncut[0].tolist() == pytest.approx([3.0, -1.0, 0.1, 7.2])


def test_what_is_drawn_from_the_top_k_shares_the_mass_of_the_others():
    """Probabilities 1/2, 1/4, 1/8, 1/8: of the two likeliest, drawn with 2/3 and 1/3."""
    logits = torch.tensor([0.5, 0.25, 0.125, 0.125]).log().expand(2, 4)
    taken = torch.tensor([0, 1])
    drawn = reward.drawn_from(logits, taken, 2).exp()
    assert drawn.tolist() == pytest.approx([2 / 3, 1 / 3])
    assert reward.drawn_from(logits, taken, 50).exp().tolist() == pytest.approx([0.5, 0.25])


def test_the_policy_gradient_is_of_the_answers_that_ended_and_weighed_by_their_share():
    """Two answers of two tokens, the second of which was cut: a mean over two tokens, times 1/2."""
    logps = torch.tensor([[-0.5, -2.0], [-1.0, -1.0]], requires_grad=True)
    advantages = torch.tensor([[1.0, -3.0], [9.0, 9.0]])
    ended = torch.tensor([True, False])
    loss = reward.policy_gradient(logps, advantages, torch.ones(2, 2), ended)
    assert loss.item() == pytest.approx(-(1.0 * -0.5 + -3.0 * -2.0) / 2 / 2)
    loss.backward()
    assert logps.grad.tolist() == [[-0.25, 0.75], [0.0, 0.0]]


def test_entropy_in_nats():
    assert reward.entropy(torch.zeros(2, 8)).tolist() == pytest.approx([math.log(8)] * 2)


class Rule:
    """A teacher that wants b and then the end, whatever it is asked."""

    def figures(self, prompts, answers, size, read):
        taken, there = padded(answers, 0, "cpu")
        wanted = torch.zeros(*taken.shape, size)
        wanted[:, 0, 4] = 10.0
        wanted[:, 1:, 1] = 10.0
        return in_tiles(read, size, there, wanted, taken)


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_the_student_takes_over_the_teacher_s_preference(kind, tmp_path):
    folder = small.tiny(tmp_path / kind, kind)
    data = tomllib.loads(SMALL) | {
        "student": {"model": str(folder)},
        "rounds": [{"objective": "llmr"}],
    }
    data["llmr"] = {"teacher": str(folder), "max_new_tokens": 6, "sync_every": 2, "entropy": 0.05}
    config = validate(data, "test")
    tokenizer, model = student.load_tokenizer(config), student.load(config, train=True)
    arguments = TrainingArguments(
        str(tmp_path / "out"), max_steps=100, per_device_train_batch_size=16, learning_rate=3e-3, logging_steps=1,
        report_to="none", use_cpu=True, save_strategy="no", disable_tqdm=True, lr_scheduler_type="constant",
    )  # fmt: skip
    prompt = tokenizer("a c d")["input_ids"]
    data = [
        {"literal_id": content_id("l", number), "prompt": prompt, "views": [prompt]}
        for number in range(64)
    ]
    trainer = llmr.LlmrTrainer(
        config=config,
        teacher=Rule(),
        model=model,
        args=arguments,
        train_dataset=data,
        processing_class=tokenizer,
    )
    trainer.train()
    logits = answer_logits(model.eval(), [prompt], [[4, 1]], 0)[0].softmax(-1)
    assert logits[0, 4] > 0.95
    assert logits[1, 1] > 0.95
    log = [row for row in trainer.state.log_history if "reward" in row]
    assert log[-1]["reward"] > log[0]["reward"] + 5
    fresh = [
        row["ratio"] for row in log if row["step"] % 2 == 1
    ]  # the copy is as old as the student
    assert fresh == pytest.approx([1.0] * len(fresh))
    assert any(abs(row["ratio"] - 1) > 1e-3 for row in log if row["step"] % 2 == 0)


SETTINGS = 'rounds=[{objective="llmr"}]'


def refused(cli, teacher, *more, code=8, objective="llmr"):
    return cli(
        "dpo", "--run", f"refused-{objective}", "--from", "v1", "--set", f'rounds=[{{objective="{objective}"}}]',
        "--set", f'{objective}={{teacher="{teacher}"}}', *more, code=code,
    )  # fmt: skip


def test_a_round_without_its_teacher_is_refused(inside, cli):
    said = cli("dpo", "--run", "refused", "--from", "v1", "--set", SETTINGS, code=3)
    assert 'objective = "llmr" needs [llmr] teacher = a folder or a Hub id' in said


@pytest.mark.parametrize("objective", ["llmr", "gkd"])
def test_a_missing_teacher_is_refused(inside, cli, objective):
    said = refused(cli, "no/such/model", objective=objective)
    assert f"{objective}.teacher = 'no/such/model'" in said
    assert "Give a folder" in said


@pytest.mark.parametrize("objective", ["llmr", "gkd"])
def test_a_teacher_with_another_vocabulary_is_refused(inside, cli, tmp_path, objective):
    said = refused(cli, small.tiny(tmp_path / "other", "llama"), objective=objective)
    assert (
        "has another vocabulary than student.model = 'data/students/micro': 4095 tokens differ"
        in said
    )
    assert "Take a teacher and a student of one family" in said


def test_an_unknown_teacher_s_prompt_and_a_typo_in_its_trainer_are_refused(inside, cli):
    said = refused(cli, "data/students/micro", "--set", 'llmr.prompts=["funnier"]', code=3)
    assert "prompts/funnier.j2: this prompt is missing" in said
    said = refused(cli, "data/students/micro", "--set", "llmr.trainer.learning_rat=1", code=3)
    assert "[llmr.trainer]: unknown key 'learning_rat'" in said


def logits_of(teacher, views, answers, size):
    """The teacher's logits (B, T, V), as its figures are made of them."""
    columns = teacher.figures(views, answers, size, lambda logits, taken: tuple(logits.unbind(-1)))
    return torch.stack(columns, -1)


def test_several_teacher_prompts_are_averaged(inside):
    """The mean of the logits under each prompt alone."""
    data = tomllib.loads(SMALL) | {
        "rounds": [{"objective": "llmr"}],
        "llmr": {"teacher": "data/students/micro"},
    }
    config = validate(data, "test")
    tokenizer = student.load_tokenizer(config)
    teacher = Teacher(config, "llmr", tokenizer)
    views = [
        tokenizer([text, text + " again"])["input_ids"]
        for text in ("<|user|>One", "<|user|>Another one")
    ]
    answers = [tokenizer("b c d")["input_ids"], tokenizer("e")["input_ids"]]
    both = logits_of(teacher, views, answers, 4000)
    one, other = (logits_of(teacher, [view], answers, 4000) for view in views)
    assert both.shape == (2, max(map(len, answers)), 4000)
    assert torch.allclose(both[0], (one[0] + other[0]) / 2, atol=1e-5)
    assert not torch.allclose(one[0], other[0], atol=0.1)
    assert not both[1, 1:].any()  # the second answer is one token long
    alone = teacher.model(torch.tensor([views[1][1] + answers[1]])).logits[
        0, len(views[1][1]) - 1, :4000
    ]
    assert torch.allclose(other[1, 0], alone, atol=1e-4)


def test_a_teacher_with_fewer_embeddings_is_given_no_token_that_it_lacks(inside):
    data = tomllib.loads(SMALL) | {
        "rounds": [{"objective": "llmr"}],
        "llmr": {"teacher": "data/students/micro"},
    }
    config = validate(data, "test")
    tokenizer = student.load_tokenizer(config)
    teacher = Teacher(config, "llmr", tokenizer)
    found = logits_of(teacher, [[tokenizer("a")["input_ids"]]], [[5, 99_999]], 4096)
    assert found.shape == (1, 2, 4096)


def test_gkd_wants_as_many_embeddings(inside, cli, tmp_path):
    """Models of one family pad their embeddings to different sizes."""
    model = AutoModelForCausalLM.from_pretrained(small.MICRO)
    model.resize_token_embeddings(4160)
    model.save_pretrained(tmp_path / "wide")
    AutoTokenizer.from_pretrained(small.MICRO).save_pretrained(tmp_path / "wide")
    said = refused(cli, tmp_path / "wide", objective="gkd", code=3)
    assert "another number of embeddings" in said
    settings = [SETTINGS, f'llmr={{teacher="{tmp_path / "wide"}"}}']
    settings += ["llmr.trainer={max_steps=1, per_device_train_batch_size=8}"]
    run(
        "dpo",
        "--run",
        "wide",
        "--from",
        "v1",
        *[part for one in settings for part in ("--set", one)],
    )


def test_what_a_gkd_student_writes_is_averaged_over_its_own_tokens(inside):
    """However long the teacher's jokes: the total variation of two distributions is 1 at most."""
    settings = [
        'rounds=[{objective="gkd"}]',
        'gkd={teacher="data/students/micro", divergence="tvd"}',
    ]
    keys = (
        "lmbda=1.0, max_steps=3, per_device_train_batch_size=4, max_new_tokens=64, logging_steps=1"
    )
    settings += [f"gkd.trainer={{{keys}}}"]
    run(
        "dpo",
        "--run",
        "on-policy",
        "--from",
        "v1",
        *[part for one in settings for part in ("--set", one)],
    )
    curve = rows(inside / "runs/on-policy/round-1/dpo/curve.jsonl")
    assert all(0 < row["loss"] <= 1 for row in curve if "loss" in row)


def test_rollouts_say_what_was_written_and_what_it_was_worth(inside):
    settings = [
        SETTINGS,
        'llmr={teacher="data/students/micro", max_new_tokens=16, value="softmax"}',
    ]
    settings += ["llmr.trainer={max_steps=3, per_device_train_batch_size=4}"]
    run(
        "dpo",
        "--run",
        "rollouts",
        "--from",
        "v1",
        *[part for one in settings for part in ("--set", one)],
    )
    found = manifest(inside, "round-1/dpo", "rollouts")
    steps = [line.split()[0] for line in run("status", "--run", "rollouts").splitlines()[1:]]
    assert steps == ["teacher", "sft", "round-1/dpo", "evaluate"]  # imitate first, then reinforce
    assert found["start"]["sha256"] == manifest(inside, "sft")["weights"]["sha256"]
    written = rows(inside / "runs/rollouts/round-1/dpo/rollouts.jsonl")
    assert [row["step"] for row in written] == [1] * 4 + [2] * 4 + [3] * 4
    unfinished = [row for row in written if not row["finished"]]
    assert found["rollouts"] == {"written": 12, "unfinished": len(unfinished)}
    assert 0 < len(unfinished) < 12
    assert all(row["tokens"] == 16 for row in unfinished)
    assert "round-1/dpo: whole" in run("verify", "--run", "rollouts")
    assert written[0]["text"][:12] in run("show", written[0]["literal_id"], "--run", "rollouts")


def test_our_policy_gradient_is_that_of_trl_s_grpo(tmp_path):
    """The gradient of GRPOTrainer's loss, given an advantage for each token and no clipping, on left-padded
    prompts."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    folder = small.tiny(tmp_path / "llama", "llama")
    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModelForCausalLM.from_pretrained(folder),
    )
    arguments = GRPOConfig(
        str(tmp_path / "out"), loss_type="bnpo", beta=0.0, epsilon=1e9, report_to="none", use_cpu=True, bf16=False,
        gradient_checkpointing=False, per_device_train_batch_size=2, num_generations=2,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=model, reward_funcs=lambda completions, **_: [0.0] * len(completions), args=arguments,
        train_dataset=Dataset.from_list([{"prompt": "a b"}]), processing_class=tokenizer,
    )  # fmt: skip
    prompts, answers = [[3, 4, 5], [6]], [[4, 1], [5, 6, 4, 1]]
    torch.manual_seed(0)
    advantages, behaviour = torch.randn(2, 4), -torch.rand(2, 4) - 1
    there = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    inputs = {
        "prompt_ids": torch.tensor([[3, 4, 5], [0, 0, 6]]),
        "prompt_mask": torch.tensor([[1, 1, 1], [0, 0, 1]]),
        "completion_ids": torch.tensor([[4, 1, 0, 0], [5, 6, 4, 1]]),
        "completion_mask": there,
        "advantages": advantages,
        "old_per_token_logps": behaviour,
    }
    trainer._compute_loss(trainer.model.eval(), inputs).backward()
    theirs = [value.grad.clone() for value in trainer.model.parameters()]
    trainer.model.zero_grad()
    logits = answer_logits(trainer.model, prompts, answers, 0).log_softmax(-1)
    logps = logits.gather(-1, inputs["completion_ids"][..., None])[..., 0]
    ratio = torch.exp(logps.detach() - behaviour)
    weighed = reward.advantages(advantages, torch.zeros(2, 4), ratio, 1.0, None)
    reward.policy_gradient(logps, weighed, there, torch.tensor([True, True])).backward()
    for value, expected in zip(trainer.model.parameters(), theirs, strict=True):
        assert torch.allclose(value.grad, expected, rtol=1e-5, atol=1e-7)
    assert max(float(value.abs().max()) for value in theirs) > 1e-2
