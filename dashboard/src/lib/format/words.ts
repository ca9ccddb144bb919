/** Whether texts have every word of a filter between them, whatever its case. */
export function hasWords(filter: string, texts: readonly (string | undefined)[]): boolean {
	const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
	if (words.length === 0) return true;
	const all = texts.join('\n').toLowerCase();
	return words.every((word) => all.includes(word));
}
