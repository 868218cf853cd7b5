"""GLOSSARY.md: parses, is sorted, repeats nothing, and has every Chinese term of the chapter."""

import re
from pathlib import Path

import pytest

from reclab.core.errors import DataError
from reclab.learn.glossary import PATH, glossary, read_glossary

CHAPTER_MAP = PATH.parents[1] / "shared" / "CHAPTER.md"
CHINESE = """
推荐路由服务 故障兜底隔离 多业务 调用 异构候选集合 资源分配问题 带约束的多目标优化 流量配额 公平竞价
目标冲突 资源竞争 生态公平 长短期平衡 召回 粗排 精排 重排 多路召回 过滤 双塔 多目标 埋点网关
反馈标签消费者 特征流 标签流 样本拼接 拼接率 流式训练 批训练 用户特征中心 正排索引 倒排 向量索引
双重更新 延迟预算 兜底机制 潮汐 动态算力分配 数据飞轮 降级缓存 降级决策服务 规则阈值 强化学习决策
背包问题 拉格朗日乘子 请求价值估计器 策略执行器 缓存召回 截断 马太效应 长尾 用户价值 生产者价值
作者侧推荐 重组 在线用户池 活跃度预测 保量 混排 数据质量 反馈稀疏 反馈延迟 分布偏移 近线 在线更新
用户侧基础信息日志 物品侧基础信息日志 交互日志 短播 有效播放 完播 训练样本 内容理解 语义理解驱动
""".split()


def test_it_parses_and_is_sorted_by_section_and_term():
    keys = [(term.section, term.name.casefold()) for term in read_glossary()]
    assert len(keys) >= 100
    assert keys == sorted(keys)
    assert {section for section, _ in keys} == {"2.1", "2.2", "2.3", "2.4", "2.5", "2.6"}


def test_no_term_and_no_chinese_name_comes_twice():
    terms = read_glossary()
    names = [term.name.casefold() for term in terms]
    chinese = [term.chinese for term in terms]
    assert sorted(set(names)) == sorted(names)
    assert sorted(set(chinese)) == sorted(chinese)


def test_each_line_is_one_sentence_in_one_line():
    for term in read_glossary():
        assert term.line.endswith((".", "?")) and len(term.line) < 140, term.name


def test_every_chinese_term_of_the_chapter_is_there():
    have = " ".join(term.chinese for term in read_glossary())
    assert [term for term in CHINESE if term not in have] == []


@pytest.mark.skipif(not CHAPTER_MAP.is_file(), reason=f"{CHAPTER_MAP.name} is not beside this")
def test_the_list_above_is_the_chapter_maps():
    rows = [line.split("|") for line in CHAPTER_MAP.read_text("utf-8").splitlines()]
    cells = [row[-3] for row in rows if len(row) >= 6]
    found = {run for cell in cells for run in re.findall(r"[\u4e00-\u9fff]+", cell)}
    assert found == set(CHINESE)


def test_a_term_is_found_by_either_name_and_by_its_abbreviation():
    assert "pre-ranking · 粗排" in str(glossary("Pre-Ranking"))
    assert str(glossary("粗排")).splitlines()[1:] == str(glossary("pre-ranking")).splitlines()[1:]
    assert "deep interest network" in str(glossary("din"))
    assert "blending" not in str(glossary("DIN"))


def test_an_unknown_word_is_answered_with_near_ones():
    assert "Near it: pre-ranking" in str(glossary("preranking"))
    assert "No such term" in str(glossary("zzzz"))
    assert "No such term" in str(glossary(""))


def test_a_damaged_row_is_named(tmp_path: Path):
    path = tmp_path / "GLOSSARY.md"
    path.write_text("| term | 中文 | in one line | § |\n|---|---|---|---|\n| a | b |\n", "utf-8")
    with pytest.raises(DataError, match="four cells"):
        read_glossary(path)
    with pytest.raises(DataError, match="not beside the package"):
        read_glossary(tmp_path / "none.md")
