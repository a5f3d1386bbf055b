"""What `learn` found, as blocks of a page."""

from __future__ import annotations

from lens_truth.ablation.frontier_result import Frontier
from lens_truth.ablation.learned_result import LearnedGates
from lens_truth.ablation.roles_result import RoleCheck
from lens_truth.page.blocks import Block, Heading
from lens_truth.page.reading import RunRecord
from lens_truth.page.told import told_blocks
from lens_truth.page.view import View


def learned_blocks(run: RunRecord, _: View) -> list[Block]:
    """Ways to learn, roles of heads, few heads."""
    about = f"run {run.name}, on {run.config.get('data', 'its data')}"
    return [
        *told_blocks(run, LearnedGates, lambda its, _: Heading(f"Learned gates of {its.model}", about)),
        *told_blocks(run, RoleCheck, lambda its, _: Heading(f"Roles of heads, {its.model}", about)),
        *told_blocks(run, Frontier, lambda its, _: Heading(f"Few heads, {its.model}", about)),
    ]
