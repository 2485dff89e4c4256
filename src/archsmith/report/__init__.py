"""Tables, figures and a self-contained HTML page about a search; evaluates nothing."""

from archsmith.report.data import FinalNetwork, ReportData

__all__ = ["FinalNetwork", "ReportData", "data", "html", "markup", "of_run", "terminal"]
