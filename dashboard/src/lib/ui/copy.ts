/**
 * Copies a text. The clipboard API is there on https and localhost only; elsewhere a page reached
 * over plain http copies as pages did before it.
 */
export async function copyText(text: string): Promise<void> {
	if (navigator.clipboard) {
		await navigator.clipboard.writeText(text);
		return;
	}
	const area = document.createElement('textarea');
	area.value = text;
	area.readOnly = true;
	area.className = 'fixed top-0 opacity-0';
	document.body.append(area);
	area.select();
	try {
		if (!document.execCommand('copy')) throw new Error('the browser does not allow it');
	} finally {
		area.remove();
	}
}
