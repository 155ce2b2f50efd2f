// Performance analytics: figures over time, and the threshold explorer.
"use strict";
(() => {
  const { number, percent, money, short, plain, element, isNumber } = assay;
  const d = assay.block("document") || {}, s = d.series || {}, ms = s.bucket_ms || [], rows = d.thresholds || [];
  const share = { format: (v) => percent(v), axis: (v) => percent(v, 0), max: 1 };

  assay.draw("chart-quality", (c) => ({ ...assay.base(ms, share), series: [assay.line("precision", s.precision || [], c.blue), assay.line("recall", s.recall || [], c.green)] }));
  const major = (values) => (values || []).map((v) => assay.major(v, d.currency));
  assay.draw("chart-fraud-money", (c) => ({
    ...assay.base(ms, { format: (v) => `${plain(d.currency)} ${number(v)}` }),
    series: [assay.bars("stopped", major(s.stopped_fraud_ref), c.green), assay.bars("missed", major(s.missed_fraud_ref), c.red)],
  }));

  const slider = document.getElementById("threshold");
  if (!slider || !rows.length) return;
  rows.sort((a, b) => a.threshold - b.threshold);

  function explorer(at) {
    assay.draw("chart-explorer", (c) => {
      const option = assay.base([], {});
      const curve = (field, name, color) => ({ name, type: "line", color, showSymbol: false, lineStyle: { width: 2 }, data: rows.map((row) => [row.threshold, row[field]]) });
      option.xAxis = { type: "value", min: 0, max: 1, name: "threshold on the score", nameLocation: "middle", nameGap: 24, nameTextStyle: { color: c.text }, axisLabel: { color: c.text }, axisLine: { lineStyle: { color: c.line } }, splitLine: { show: false } };
      option.grid.bottom = 26;
      option.yAxis = { ...option.yAxis, max: 1, interval: 0.25, axisLabel: { color: c.text, formatter: (v) => percent(v, 0) } };
      option.tooltip.formatter = (points) => [`threshold ${number(points[0].value[0], 4)}`, ...points.map((p) => `${p.seriesName}: ${percent(p.value[1])}`)].join("\n");
      option.series = [curve("precision", "precision", c.blue), curve("recall", "recall", c.green), curve("flagged_share", "share flagged", c.purple)];
      option.series[0].markLine = { silent: true, symbol: "none", animation: false, label: { show: false }, lineStyle: { color: c.text, type: "dashed" }, data: [{ xAxis: at.threshold }] };
      return option;
    });
  }

  function explore() {
    const at = rows[Number(slider.value)];
    document.getElementById("threshold-value").textContent = number(at.threshold, 4);
    slider.setAttribute("aria-valuetext", `threshold ${number(at.threshold, 4)}`);
    const facts = [
      ["Flagged a day", isNumber(at.per_day) && at.per_day < 10 ? number(at.per_day, 1) : number(at.per_day)],
      ["Flagged in all", `${number(at.flagged)} (${percent(at.flagged_share, 2)})`],
      ["Precision", percent(at.precision)], ["Recall", percent(at.recall)],
      ["Fraud money stopped", money(at.stopped_fraud_ref, d.currency)],
      ["False alarms", number(at.false_positives)],
    ];
    document.getElementById("explored").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", "", name), element("dd", "", value)]));
    explorer(at);
  }

  const best = (row) => { // where to begin: the best balance of precision and recall
    const total = row.precision + row.recall; // null where nothing is judged
    return total > 0 ? (2 * row.precision * row.recall) / total : 0;
  };
  slider.value = String(rows.reduce((top, row, i) => (best(row) > best(rows[top]) ? i : top), 0));
  slider.addEventListener("input", explore);
  explore();
})();
