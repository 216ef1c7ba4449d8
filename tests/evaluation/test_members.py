from __future__ import annotations

import numpy as np

from microcalc.evaluation.match import Regions
from microcalc.evaluation.members import match_members

TRUTH = np.array([(0.0, 0), (0, 1), (1, 0), (1, 1), (20, 20), (20, 21), (21, 20)])
OWNER = np.array(["a", "a", "a", "a", "b", "b", "b"])
NOTHING = Regions(np.empty((0, 2)))


def test_a_finding_that_lists_three_of_four_and_one_other_place() -> None:
    finding = np.array([(0.1, 0), (0, 1.1), (1, 0), (3, 3)])
    members = match_members([finding], TRUTH, OWNER, ["a"], ignored=NOTHING)
    assert members.listed.tolist() == [True, True, True, False]
    assert (members.n_false, members.n_findings, members.findings_of_cluster) == (1, 1, (1,))


def test_two_findings_on_one_cluster_list_their_members_together() -> None:
    findings = [np.array([(0.0, 0), (0, 1)]), np.array([(1.0, 0), (1, 1)])]
    members = match_members(findings, TRUTH, OWNER, ["a"], ignored=NOTHING)
    assert members.listed.all()
    assert (members.n_findings, members.findings_of_cluster) == (2, (2,))


def test_findings_elsewhere_and_clusters_not_found_do_not_count() -> None:
    far = np.array([(40.0, 40), (41, 41), (42, 42)])
    on_a = np.array([(0.0, 0), (0, 1)])
    members = match_members([far, on_a], TRUTH, OWNER, ["a"], ignored=NOTHING)
    assert (len(members.listed), members.n_false, members.n_findings) == (4, 0, 1)
    assert match_members([far], TRUTH, OWNER, [], ignored=NOTHING).listed.size == 0


def test_a_member_on_other_calcium_is_not_false() -> None:
    finding = np.array([(0.0, 0), (0, 1), (5, 5), (20, 20)])
    ignored = Regions(np.array([(5.0, 5.0)]), 1.0)
    members = match_members([finding], TRUTH, OWNER, ["a"], ignored=ignored)
    assert members.n_false == 0


def test_a_finding_over_two_clusters_is_counted_once_for_false_members_and_for_each_cluster() -> None:
    finding = np.array([*TRUTH, (9.0, 9.0)])
    members = match_members([finding], TRUTH, OWNER, ["a", "b"], ignored=NOTHING)
    assert members.listed.all()
    assert (members.n_false, members.n_findings, members.findings_of_cluster) == (1, 1, (1, 1))
