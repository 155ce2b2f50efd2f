// Data versions: which import, and the stream, cover which time.
"use strict";
(() => {
  const { plain, number, utc, isNumber } = assay;
  const d = assay.block("document") || {};
  const rows = [...(d.imports || []).map((row) => ({ ...row, name: row.source || row.file })), ...(d.stream ? [{ ...d.stream, name: "live stream", live: true }] : [])]
    .filter((row) => isNumber(row.first_ms) && isNumber(row.last_ms)).slice(0, 20).reverse();
  if (!rows.length) return;
  const first = Math.min(...rows.map((row) => row.first_ms)), end = Math.max(...rows.map((row) => row.last_ms));
  const least = (end - first) / 200; // a short import is still seen
  const target = document.getElementById("chart-coverage");
  target.style.height = `${Math.max(110, 56 + 36 * rows.length)}px`;
  assay.draw("chart-coverage", (c) => {
    const option = assay.base([], { legend: false });
    const label = (name) => (name.length > 28 ? `${name.slice(0, 27)}…` : name);
    option.yAxis = { type: "category", data: rows.map((row) => plain(row.name)), axisLabel: { color: c.text, formatter: label }, axisTick: { show: false }, axisLine: { show: false } };
    option.xAxis = { type: "value", min: first, max: end, axisLabel: { color: c.text, formatter: (v) => utc(v, 0, 10), hideOverlap: true }, splitLine: { lineStyle: { color: c.line } } };
    option.tooltip.trigger = "item";
    option.tooltip.formatter = (p) => {
      const row = rows[p.dataIndex];
      return `${plain(row.name)}\n${utc(row.first_ms, 0, 16)} to ${utc(row.last_ms, 0, 16)} UTC\n${number(row.rows)} rows`;
    };
    option.series = [
      { type: "bar", stack: "span", silent: true, itemStyle: { color: "transparent" }, data: rows.map((row) => row.first_ms) },
      { type: "bar", stack: "span", barMaxWidth: 18, data: rows.map((row) => ({ value: Math.max(row.last_ms - row.first_ms, least), itemStyle: { color: row.live ? c.green : c.blue, borderRadius: 3 } })) },
    ];
    return option;
  });
})();
