/** Which of some blocks are drawn, and how much room those before and after them take. */
export interface BlockWindow {
	from: number;
	to: number;
	before: number;
	after: number;
}

/**
 * Which blocks of different heights to draw when the viewport begins at top: those in sight and
 * margin pixels around. All of them together take the same room as if they were drawn.
 */
export function blockWindow(
	heights: readonly number[],
	top: number,
	viewport: number,
	margin: number
): BlockWindow {
	const start = top - margin;
	const end = top + viewport + margin;
	let from = 0;
	let before = 0;
	while (from < heights.length - 1 && before + (heights[from] ?? 0) < start) {
		before += heights[from] ?? 0;
		from++;
	}
	let to = from;
	let reached = before;
	while (to < heights.length && (reached < end || to === from)) {
		reached += heights[to] ?? 0;
		to++;
	}
	let after = 0;
	for (let i = to; i < heights.length; i++) after += heights[i] ?? 0;
	return { from, to, before, after };
}
