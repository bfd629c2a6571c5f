"""Reports for people: what an evaluation found, as one page with plots, in HTML or Markdown."""

from retrieval.evaluation.reports.findings import Findings, ItemLabels
from retrieval.evaluation.reports.sections import make_page
from retrieval.evaluation.reports.writing import check_report_path, write_page

__all__ = ["Findings", "ItemLabels", "check_report_path", "make_page", "write_page"]
