"""A run's report as one HTML file: no request, no script of others, no tracking."""

from convscope.viz.report.attributions import save_attributions
from convscope.viz.report.comparison import comparison_page
from convscope.viz.report.page import report_page
from convscope.viz.report.saving import (
    REPORT,
    save_comparison,
    save_record,
    save_report,
)

__all__ = [
    "REPORT",
    "comparison_page",
    "report_page",
    "save_attributions",
    "save_comparison",
    "save_record",
    "save_report",
]
