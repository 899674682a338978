"""What the Chinese pages have from the English ones as it is: commands, what was printed, and the claims of modes."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from service.catalogue import CLAIMS

README = Path(__file__).parent.parent / "README.md"
CHAPTER = Path(__file__).parent / "tutorial" / "01-twenty-lines.md"
BLOCK = re.compile(r"^```\w+\n.*?^```$", re.DOTALL | re.MULTILINE)
WORDS = {
    "nowhere": "无",
    "threads": "线程",
    "processes": "进程",
    "hosts": "主机",
    "killed holder": "持有者被杀",
    "paused holder": "持有者被暂停",
    "power loss": "断电",
    "does not wait": "不等待",
    "polls": "轮询",
    "sleeps in the kernel": "在内核中睡眠",
    "queues": "排队",
    "retries": "重试",
}
"""The words of a claim. What a mode costs is a sentence of the code, and stays as it is."""
HEAD = "| 模式 | 售出 | 剩余 | 丢失更新 | 一票多卖 | 读到半个文件 | 请求/秒 | p50 ms | p99 ms | 最长 ms | 结论 |"


def modes() -> str:
    """Return the table of modes with the words of their claims in Chinese."""
    rows = ["| 模式 | 在此范围内绝不重复出售 | 能承受 | 其他人 | 公平 | 代价 |", "| --- " * 6 + "|"]
    rows += [
        f"| [`{name}`](../../service/modes/{name}.py) | {WORDS[claim.reach]} "
        f"| {'、'.join(WORDS[each] for each in claim.survives) or '无'} | {WORDS[claim.waits]} "
        f"| {'是' if claim.fair else '否'} | {claim.price} |"
        for name, claim in CLAIMS.items()
    ]
    return "\n".join(rows)


def demo() -> str:
    """Return the table that ``make demo`` printed, as the English README has it, with its head in Chinese."""
    table = re.search(r"^\| mode \| sold \|.*\n((?:\|.*\n)+)", README.read_text(), re.MULTILINE)
    assert table is not None  # noqa: S101  # the README begins with it
    return f"{HEAD}\n{table[1].strip()}"


def blocks(page: Path) -> list[str]:
    """Return the blocks of commands and code of a page."""
    return BLOCK.findall(page.read_text())


def block(page: Path, number: int) -> str:
    """Return one of them."""
    return blocks(page)[number]


PARTS = {"modes in Chinese": modes, "demo in Chinese": demo}
PARTS |= {f"block {number + 1}": partial(block, README, number) for number in range(len(blocks(README)))}
PARTS |= {f"block {number + 1} of chapter 1": partial(block, CHAPTER, number) for number in range(len(blocks(CHAPTER)))}
