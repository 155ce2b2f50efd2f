// What every page's charts share: colours by theme, formats, and drawing without flicker.
"use strict";
const assay = (() => {
  const block = (id) => JSON.parse(document.getElementById(id)?.textContent || "null");
  const exponents = block("exponents") || {};
  const colours = () => {
    const dark = document.documentElement.dataset.bsTheme === "dark";
    return dark
      ? { text: "#a7b3c4", line: "#2c3a4d", surface: "#182433", approve: "#3f5876", challenge: "#e6b84a", review: "#e8863c", decline: "#e5595d", blue: "#5aa2f0", green: "#4fbf7f", red: "#e5595d", purple: "#b38cf0" }
      : { text: "#5c6b80", line: "#e3e8ef", surface: "#ffffff", approve: "#b9cbe0", challenge: "#e9b949", review: "#e07b2e", decline: "#cf3d42", blue: "#1f74d0", green: "#2b9a5b", red: "#cf3d42", purple: "#7d55c7" };
  };

  // Text from outside may hold marks that nobody sees or that turn its direction.
  const unseen = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
  const plain = (text) => (text === null || text === undefined || text === "" ? "–" : String(text).replace(unseen, "\ufffd"));
  const release = (model) => (model === "none" ? "rules only" : plain(model)); // as formats.release
  const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
  const number = (value, digits = 0) =>
    isNumber(value) ? value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }) : "–";
  const short = (value) => (isNumber(value) ? value.toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 1 }) : "–");
  const percent = (value, digits = 1) => (isNumber(value) ? `${number(value * 100, digits)} %` : "–");
  const major = (minor, currency) => (isNumber(minor) ? minor / 10 ** (exponents[currency] ?? 2) : null);
  const money = (minor, currency) => (isNumber(minor) ? `${plain(currency)} ${number(major(minor, currency), exponents[currency] ?? 2)}` : "–");
  const moneyShort = (minor, currency) => (isNumber(minor) ? `${plain(currency)} ${short(major(minor, currency))}` : "–");
  const utc = (ms, from = 0, to = 19) =>
    isNumber(ms) && Math.abs(ms) < 8.64e15 ? new Date(ms).toISOString().replace("T", " ").slice(from, to) : "–";

  const element = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const text = (id, value) => {
    const target = document.getElementById(id);
    if (target && target.textContent !== value) target.textContent = value;
  };
  const empty = (title, hint) => {
    const box = element("div", "empty-state");
    box.append(element("p", "empty-state-title", title), element("p", "text-secondary mb-0", hint));
    return box;
  };

  const timeAxis = (ms) => {
    const span = ms.length > 1 ? ms[ms.length - 1] - ms[0] : 0;
    const day = 86_400_000;
    const [from, to] = span > 20 * day ? [5, 10] : span > 2 * day ? [5, 16] : span > 600_000 ? [11, 16] : [11, 19];
    return (value) => utc(Number(value), from, to);
  };

  // Options that all charts over time share. Tooltips are drawn on the canvas: as HTML they would
  // need inline styles, which the content security policy refuses.
  const base = (ms, { format = short, axis = short, max, legend = true } = {}) => {
    const c = colours();
    return {
      animation: false,
      textStyle: { fontFamily: "system-ui, sans-serif", color: c.text },
      grid: { left: 8, right: 12, top: legend ? 32 : 12, bottom: 4, containLabel: true },
      legend: { show: legend, top: 0, left: 0, itemWidth: 10, itemHeight: 10, icon: "roundRect", textStyle: { color: c.text }, inactiveColor: c.line },
      tooltip: {
        trigger: "axis", renderMode: "richText", confine: true, backgroundColor: c.surface, borderColor: c.line,
        textStyle: { color: c.text, fontSize: 12 }, axisPointer: { lineStyle: { color: c.text } },
        formatter: (points) =>
          [utc(Number(points[0].axisValue)) + " UTC", ...points.map((p) => `${p.seriesName}: ${format(p.value, p.seriesName)}`)].join("\n"),
      },
      xAxis: {
        type: "category", data: ms, boundaryGap: true, axisTick: { show: false }, axisLine: { lineStyle: { color: c.line } },
        axisLabel: { color: c.text, formatter: timeAxis(ms), hideOverlap: true },
      },
      yAxis: { type: "value", min: 0, max, interval: max === 1 ? 0.25 : undefined, splitNumber: 4, splitLine: { lineStyle: { color: c.line } }, axisLabel: { color: c.text, formatter: axis } },
    };
  };
  const bars = (name, data, color, stack = "all") => ({ name, type: "bar", stack, data, itemStyle: { color }, barCategoryGap: "18%", barMaxWidth: 28, large: false });
  // A time without a figure is a gap, so a figure between two gaps needs a dot to be seen.
  const line = (name, data, color, more = {}) => {
    const alone = (i) => !isNumber(data[i - 1]) && !isNumber(data[i + 1]);
    return { name, type: "line", data, color, lineStyle: { width: 2 }, symbol: "circle", showAllSymbol: true, symbolSize: (_, point) => (alone(point.dataIndex) ? 5 : 0), connectNulls: false, ...more };
  };

  const drawn = new Map(); // element id → how to make its option
  const draw = (id, make) => {
    const target = document.getElementById(id);
    if (!target) return;
    const known = echarts.getInstanceByDom(target);
    const chart = known || echarts.init(target);
    chart.setOption(make(colours()), { replaceMerge: known ? ["series"] : undefined });
    drawn.set(id, make);
  };
  const redraw = () => drawn.forEach((make, id) => draw(id, make));
  document.addEventListener("themechange", redraw);
  addEventListener("resize", () => drawn.forEach((_, id) => {
    const target = document.getElementById(id);
    if (target) echarts.getInstanceByDom(target)?.resize();
  }));

  return { block, plain, release, isNumber, number, short, percent, major, money, moneyShort, utc, element, text, empty, base, bars, line, draw, colours };
})();
