import { type ReactNode, useEffect, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useTheme } from "~/app/theme";
import { money } from "~/text/format";
import { Foreign } from "~/ui/text";
import { told } from "./figures";

export const COLOURS = 6;

interface Props {
  days: readonly string[];
  names: readonly string[];
  /** For each name, the top of its band on each day. */
  tops: readonly (readonly number[])[];
  budget: number | null;
}

/** Days as stacked bars, zero at the bottom, the budget as a line. The table below has every number. */
export function Chart({ days, names, tops, budget }: Props): ReactNode {
  const place = useRef<HTMLDivElement>(null);
  const theme = useTheme();
  const [at, setAt] = useState<number | null>(null);
  useEffect(() => {
    const box = place.current;
    if (!box) return;
    void theme; // colours are read anew when it changes
    const css = (name: string) => getComputedStyle(box).getPropertyValue(name).trim();
    const resolve = (name: string) => resolved(box, css(name));
    const muted = resolve("--muted");
    const line = resolve("--line");
    const most = Math.max(
      ...(tops.at(-1) ?? [0]),
      budget !== null && budget < 5 * Math.max(...(tops.at(-1) ?? [0]), 0.01) ? budget : 0,
      0.01,
    );
    const bars = uPlot.paths.bars?.({ size: [0.7, 42] });
    const axis = {
      stroke: muted,
      grid: { stroke: line, width: 1 },
      ticks: { show: false },
      font: "12px system-ui",
    };
    const options: uPlot.Options = {
      width: box.clientWidth,
      height: 220,
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false, setScale: false } },
      hooks: { setCursor: [(plot) => setAt(plot.cursor.idx ?? null)] },
      padding: [12, 8, 0, 0],
      scales: { x: { time: false, range: [-0.6, days.length - 0.4] }, y: { range: [0, most * 1.08] } },
      axes: [
        {
          ...axis,
          size: 28,
          grid: { show: false },
          splits: () => days.map((_, at) => at),
          values: (_, at) =>
            at.map((each) => (each % Math.ceil(days.length / 8) === 0 ? (days[each]?.slice(5) ?? "") : "")),
        },
        { ...axis, size: 56, values: (_, at) => at.map((each) => money(each)) },
      ],
      // The highest band is drawn first: the lower ones cover its foot.
      series: [
        {},
        ...names
          .map((name, at): uPlot.Series => {
            const colour = resolve(`--series-${(at % COLOURS) + 1}`);
            return {
              label: name,
              fill: colour,
              stroke: colour,
              width: 0,
              ...(bars ? { paths: bars } : {}),
              points: { show: false },
            };
          })
          .reverse(),
        ...(budget !== null
          ? [{ label: "budget", stroke: muted, dash: [5, 4], width: 1.2, points: { show: false } }]
          : []),
      ],
    };
    const data = [
      days.map((_, at) => at),
      ...tops.map((top) => [...top]).reverse(),
      ...(budget !== null ? [days.map(() => budget)] : []),
    ] as uPlot.AlignedData;
    const plot = new uPlot(options, data, box);
    const sized = new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: 220 }));
    sized.observe(box);
    return () => {
      sized.disconnect();
      plot.destroy();
    };
  }, [days, names, tops, budget, theme]);
  return (
    <>
      <div
        ref={place}
        className="w-full"
        role="img"
        aria-label={`Money a day, ${days.length} days; the numbers stand in the table below`}
      />
      <p data-told className="min-h-10 text-sm text-muted md:min-h-5">
        <Foreign text={told(at, days, names, tops) ?? ""} />
      </p>
    </>
  );
}

/** A canvas does not know light-dark(): the browser is asked what colour comes of it. */
function resolved(box: HTMLElement, value: string): string {
  const probe = document.createElement("span");
  probe.style.color = value;
  box.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}
