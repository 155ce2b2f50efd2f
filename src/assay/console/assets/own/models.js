// Model lifecycle: the promote dialog and the two charts.
"use strict";
(() => {
  const { number, percent, plain, isNumber } = assay;
  const dialog = document.getElementById("promote-dialog");

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-promote]");
    if (button) {
      dialog.querySelector("[data-model]").textContent = plain(button.dataset.promote);
      dialog.querySelector("[name=model]").value = button.dataset.promote;
      dialog.querySelector("[name=expected_revision]").value = button.dataset.revision;
      dialog.showModal();
    } else if (event.target.closest("[data-close]")) dialog.close();
  });
  dialog?.addEventListener("htmx:afterRequest", () => dialog.close());

  document.addEventListener("htmx:afterSettle", (event) => {
    // The button that was clicked is gone; what became of the click is where to go on from.
    if (event.detail.target.id === "lifecycle") document.getElementById("outcome")?.focus();
  });

  function versions(d) {
    const rows = (d.models || []).filter((row) => isNumber(row.metrics?.average_precision)).reverse();
    const colour = (row, c) => ({ live: c.green, previous: c.blue, candidate: c.purple })[row.status] || c.approve;
    assay.draw("chart-versions", (c) => {
      const names = rows.map((row) => plain(row.model));
      const option = assay.base([], { legend: false });
      option.tooltip.formatter = ([point]) => {
        const m = rows[point.dataIndex].metrics, [low, high] = m.average_precision_95 || [];
        return `${point.name}\naverage precision ${number(m.average_precision, 3)} (${number(low, 3)} to ${number(high, 3)})`;
      };
      option.xAxis = { ...option.xAxis, data: names, axisLabel: { color: c.text, hideOverlap: true } };
      option.yAxis = { ...option.yAxis, max: 1, interval: 0.25, axisLabel: { color: c.text } };
      const interval = rows.flatMap((row, i) => {
        const [low, high] = row.metrics.average_precision_95 || [];
        return isNumber(low) ? [[{ coord: [i, low], symbol: "rect", symbolSize: [12, 2] }, { coord: [i, high], symbol: "rect", symbolSize: [12, 2] }]] : [];
      });
      option.series = [{
        type: "bar", barMaxWidth: 48, data: rows.map((row) => ({ value: row.metrics.average_precision, itemStyle: { color: colour(row, c) }, label: { color: row.status === "retired" ? c.text : c.surface } })),
        label: { show: true, position: "insideBottom", color: c.surface, formatter: (p) => number(p.value, 3) },
        markLine: { silent: true, animation: false, label: { show: false }, lineStyle: { color: c.text, type: "solid", width: 2 }, data: interval },
      }];
      return option;
    });
  }

  const point = (row) => row.test || row;
  function thresholds(d) {
    assay.draw("chart-thresholds", (c) => {
      const option = assay.base([], {});
      const curve = (rows, field, name, color, type) => ({
        name, type: "line", color, symbol: "none", lineStyle: { width: 2, type },
        data: (rows || []).map(point).filter((p) => isNumber(p.flagged ?? p.flagged_share)).map((p) => [100 * (p.flagged_share ?? p.flagged), p[field]]).sort((x, y) => x[0] - y[0]),
      });
      option.xAxis = { type: "log", name: "% of payments flagged", nameLocation: "middle", nameGap: 24, axisLabel: { color: c.text, formatter: (v) => `${v}` }, axisLine: { lineStyle: { color: c.line } }, splitLine: { show: false }, nameTextStyle: { color: c.text } };
      option.grid.bottom = 26;
      option.legend = { ...option.legend, type: "scroll", icon: undefined, itemWidth: 24, pageIconColor: c.text, pageTextStyle: { color: c.text } };
      option.yAxis = { ...option.yAxis, max: 1, interval: 0.25, axisLabel: { color: c.text, formatter: (v) => percent(v, 0) } };
      option.tooltip.formatter = (points) => [`${number(points[0].value[0], 2)} % flagged`, ...points.map((p) => `${p.seriesName}: ${percent(p.value[1])}`)].join("\n");
      const names = [plain(d.a?.model), plain(d.b?.model)];
      const cut = names[0].lastIndexOf("-") + 1; // boosting-0.2.0 and boosting-0.1.0 differ at the end
      const [a, b] = names[1].startsWith(names[0].slice(0, cut)) ? names.map((name) => name.slice(cut)) : names;
      option.series = [curve(d.thresholds?.a, "precision", `precision ${a}`, c.blue, "solid"), curve(d.thresholds?.a, "recall", `recall ${a}`, c.green, "solid")];
      if (a !== b) option.series.push(curve(d.thresholds?.b, "precision", `precision ${b}`, c.blue, "dashed"), curve(d.thresholds?.b, "recall", `recall ${b}`, c.green, "dashed"));
      return option;
    });
  }

  document.addEventListener("htmx:afterSwap", () => {
    const found = document.querySelector("#comparison .comparison-data");
    if (found) thresholds(JSON.parse(found.dataset.document));
  });
  const d = assay.block("document") || {};
  if (document.getElementById("chart-versions")) versions(d);
})();
