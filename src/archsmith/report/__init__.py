"""Tables, figures and one self-contained HTML page about a search; nothing here evaluates anything."""

from archsmith.report.data import FinalNetwork, ReportData

__all__ = ["FinalNetwork", "ReportData", "data", "html", "markup", "of_run", "terminal"]
