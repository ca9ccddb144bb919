/** Rows above and below those in sight that are drawn too, for fast scrolling and the Tab key. */
const OVERSCAN = 12;

/** Tables up to this long are drawn whole. */
export const WHOLE_UP_TO = 60;

/**
 * Which of count rows to draw, from (inclusive) to (exclusive), when the viewport begins at offset
 * pixels below the first row's top and is height pixels high.
 */
export function visibleRange(
	count: number,
	rowHeight: number,
	offset: number,
	height: number
): { from: number; to: number } {
	if (count <= WHOLE_UP_TO) return { from: 0, to: count };
	const first = Math.floor(offset / rowHeight) - OVERSCAN;
	const last = Math.ceil((offset + height) / rowHeight) + OVERSCAN;
	const from = Math.min(Math.max(0, first), count);
	return { from, to: Math.max(from, Math.min(count, last)) };
}
