"""What the tools cost a model in tokens, and the snapshot that shows a change of any schema."""

import json
import os

import pytest
from server_support import COADREAD, NORMAL, ROOT, TUMOR, server_for, talk, text_of
from tokens import as_json, tokens

SNAPSHOT = ROOT / "tests" / "snapshots" / "tools.json"
RENEW = "RENEW_SNAPSHOTS=1 pytest tests/test_server_budget.py -k snapshot"
LIST, CONCISE, FULL = 6000, 600, 8000


def tool_list(folder, *, allow_paths=True):
    async def conversation(client):
        return (await client.list_tools()).tools

    tools = talk(server_for(folder, allow_paths=allow_paths), conversation)
    return [tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in tools]


@pytest.mark.parametrize("allow_paths", [True, False])
def test_the_tool_list_costs_little(tmp_path, allow_paths):
    assert tokens(as_json(tool_list(tmp_path, allow_paths=allow_paths))) <= LIST


def test_the_snapshot_of_all_schemas(tmp_path):
    now = {
        "stdio": tool_list(tmp_path),
        "http": [t for t in tool_list(tmp_path, allow_paths=False) if t["name"] == "embed_sample"],
    }
    if os.environ.get("RENEW_SNAPSHOTS"):
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n")
    assert now == json.loads(SNAPSHOT.read_text()), f"if it is meant, renew it: {RENEW}"


# Everything that makes an answer long.
LONGEST = {
    "nearest_cohorts": [{"k": 5}, {"k": 50}],
    "predict_cancer_type": [{}],
    "pathway_scores": [{}, {"collection": "reactome", "top": 50}],
    "unexpected_genes": [{}, {"top": 50}],
}
LISTS = [{"what": what} for what in ("overview", "cohorts", "types", "collections", "gene_sets")]
LISTS += [{"what": "gene_sets", "query": "TP53"}, {"what": "cohorts", "query": "tumor"}]


@pytest.mark.parametrize("detail", ["concise", "full"])
def test_every_answer_keeps_to_its_budget(tmp_path, detail):
    """Text and structured content each: a client may show a model either of them."""
    seen = []

    async def conversation(client):
        async def call(tool, **arguments):
            result = await client.call_tool(tool, {**arguments, "detail": detail})
            assert not result.is_error, text_of(result)
            seen.append((tool, arguments, result))
            return result.structured_content

        colon = [s["sample"] for s in (await call("embed_sample", path=str(COADREAD)))["samples"]]
        lung = [
            (await call("embed_sample", path=str(path)))["samples"][0]["sample"]
            for path in (TUMOR, NORMAL)
        ]
        for tool, variants in LONGEST.items():
            for arguments in variants:
                for sample in lung:  # the normal tissue is out of distribution, with reasons
                    await call(tool, sample=sample, **arguments)
        for arguments in LISTS:
            await call("describe_reference", **arguments)
        for collection, top in (("hallmark", 10), ("reactome", 50)):
            await call("compare_samples", a=colon, b=lung, collection=collection, top=top)
            await call("compare_samples", a=lung[0], b=lung[1], collection=collection, top=top)

    talk(server_for(tmp_path), conversation)
    limit = {"concise": CONCISE, "full": FULL}[detail]
    others = {"embed_sample", "describe_reference", "compare_samples"}
    assert {tool for tool, _, _ in seen} == {*LONGEST, *others}
    costs = {
        f"{tool} {arguments.get('collection') or arguments.get('what', '')} {number}": max(
            tokens(text_of(result)), tokens(as_json(result.structured_content))
        )
        for number, (tool, arguments, result) in enumerate(seen)
    }
    over = {what: cost for what, cost in costs.items() if cost > limit}
    assert over == {}


def test_concise_is_shorter_than_full(tmp_path):
    async def conversation(client):
        embedded = await client.call_tool("embed_sample", {"path": str(TUMOR)})
        handle = embedded.structured_content["samples"][0]["sample"]
        lengths = {}
        for tool in LONGEST:
            both = [
                await client.call_tool(tool, {"sample": handle, "detail": detail})
                for detail in ("concise", "full")
            ]
            lengths[tool] = [tokens(as_json(one.structured_content)) for one in both]
        return lengths

    for tool, (concise, full) in talk(server_for(tmp_path), conversation).items():
        assert concise < full, tool
