// Escape sequences of terminals, by ECMA-48: CSI (colours, cursor), OSC and the other strings
// (titles, links), and two-character escapes. Their C1 forms (one character from U+0080) too.
const SEQUENCES = new RegExp(
	[
		'(?:\\u001b\\[|\\u009b)[0-?]*[ -/]*[@-~]',
		'(?:\\u001b[\\]PX^_]|[\\u009d\\u0090\\u0098\\u009e\\u009f])[^\\u0007\\u001b\\u009c]*(?:\\u0007|\\u001b\\\\|\\u009c)?',
		'\\u001b[ -/]*[0-~]'
	].join('|'),
	'g'
);

// Everything else that is not printable, but for the tab.
// eslint-disable-next-line no-control-regex -- control characters are what this is about
const CONTROLS = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g;

// Characters that reorder or hide text, with which a log could pretend to be something else.
const BIDI = /[\u202a-\u202e\u2066-\u2069]/g;

/**
 * A line of a program's output as plain text. Colours go; of a line that rewrites itself with
 * carriage returns (progress bars) what it showed last stays.
 */
export function plainText(line: string): string {
	const text = line.replace(SEQUENCES, '').replace(/\r+$/, '');
	return printable(text.slice(text.lastIndexOf('\r') + 1));
}

function printable(text: string): string {
	return text.replace(CONTROLS, '').replace(BIDI, '\ufffd');
}

/** How a piece of text is drawn. Colours are of the form rgb(r g b), whatever the program wrote. */
export interface TextStyle {
	color?: string;
	background?: string;
	bold?: boolean;
	dim?: boolean;
	italic?: boolean;
	underline?: boolean;
}

export interface StyledRun {
	text: string;
	style: TextStyle;
}

export const NO_STYLE: TextStyle = {};

// eslint-disable-next-line no-control-regex -- control characters are what this is about
const SGR = /^(?:\u001b\[|\u009b)([0-9:;]*)m$/;

/**
 * A line as plainText reads it, in runs of one style each, and the style that it leaves to the next
 * line of its stream: a program may colour several lines and reset only then.
 */
export function styledText(
	line: string,
	start: TextStyle = NO_STYLE
): { runs: StyledRun[]; end: TextStyle } {
	const chunks: StyledRun[] = [];
	let style = start;
	let at = 0;
	for (const found of line.matchAll(SEQUENCES)) {
		if (found.index > at) chunks.push({ text: line.slice(at, found.index), style });
		at = found.index + found[0].length;
		const parameters = SGR.exec(found[0])?.[1];
		if (parameters !== undefined) style = rendition(style, parameters);
	}
	if (at < line.length) chunks.push({ text: line.slice(at), style });

	const all = chunks.map(({ text }) => text).join('');
	const to = all.replace(/\r+$/, '').length;
	const from = all.lastIndexOf('\r', to - 1) + 1;
	const runs: StyledRun[] = [];
	let offset = 0;
	for (const chunk of chunks) {
		const begin = Math.max(0, from - offset);
		const end = Math.max(begin, Math.min(chunk.text.length, to - offset));
		const text = printable(chunk.text.slice(begin, end));
		offset += chunk.text.length;
		const last = runs.at(-1);
		if (text === '') continue;
		if (last?.style === chunk.style) last.text += text;
		else runs.push({ text, style: chunk.style });
	}
	return { runs, end: style };
}

/** The style after one Select Graphic Rendition sequence. */
function rendition(style: TextStyle, parameters: string): TextStyle {
	let next = { ...style };
	const codes = parameters.split(';');
	for (let i = 0; i < codes.length; i++) {
		const [code = '', ...rest] = (codes[i] ?? '').split(':');
		const number = Number(code);
		if (number === 38 || number === 48 || number === 58) {
			// The colons' form holds all of a colour in one code, the older one spreads it over several.
			const wanted = rest.length > 0 ? rest : codes.slice(i + 1, i + 5);
			if (rest.length === 0) i += wanted[0] === '5' ? 2 : wanted[0] === '2' ? 4 : 0;
			const color = extendedColor(wanted, rest.length > 0);
			if (color && number === 38) next.color = color;
			if (color && number === 48) next.background = color;
		} else if (number === 0) next = {};
		else if (number === 1) next.bold = true;
		else if (number === 2) next.dim = true;
		else if (number === 3) next.italic = true;
		else if (number === 4) next.underline = rest[0] !== '0';
		else if (number === 21) next.underline = true;
		else if (number === 22) next = { ...next, bold: false, dim: false };
		else if (number === 23) next.italic = false;
		else if (number === 24) next.underline = false;
		else if (number === 39) delete next.color;
		else if (number === 49) delete next.background;
		else if (number >= 30 && number <= 37) next.color = indexedColor(number - 30);
		else if (number >= 40 && number <= 47) next.background = indexedColor(number - 40);
		else if (number >= 90 && number <= 97) next.color = indexedColor(number - 82);
		else if (number >= 100 && number <= 107) next.background = indexedColor(number - 92);
	}
	return Object.values(next).some(Boolean) ? next : NO_STYLE;
}

function extendedColor(parts: string[], colons: boolean): string | undefined {
	const [kind, ...values] = parts;
	if (kind === '5') return indexedColor(Number(values[0] || NaN));
	if (kind !== '2') return undefined;
	// With colons a colour space may stand before the colour: 38:2::255:0:0.
	const channels = (colons && values.length > 3 ? values.slice(1, 4) : values.slice(0, 3)).map(
		(value) => Number(value || 0)
	);
	const valid = channels.length === 3 && channels.every((one) => one >= 0 && one <= 255);
	return valid ? `rgb(${channels.join(' ')})` : undefined;
}

/** xterm's first sixteen colours. */
const BASE_COLORS = [
	'0 0 0',
	'205 0 0',
	'0 205 0',
	'205 205 0',
	'0 0 238',
	'205 0 205',
	'0 205 205',
	'229 229 229',
	'127 127 127',
	'255 0 0',
	'0 255 0',
	'255 255 0',
	'92 92 255',
	'255 0 255',
	'0 255 255',
	'255 255 255'
];

/** A colour of the 256: sixteen named ones, a cube of six by six by six, and greys. */
function indexedColor(index: number): string | undefined {
	if (!Number.isInteger(index) || index < 0 || index > 255) return undefined;
	if (index < 16) return `rgb(${BASE_COLORS[index]})`;
	if (index >= 232) {
		const grey = 8 + (index - 232) * 10;
		return `rgb(${grey} ${grey} ${grey})`;
	}
	const level = (step: number) => (step === 0 ? 0 : 55 + 40 * step);
	const cube = index - 16;
	return `rgb(${level(Math.floor(cube / 36))} ${level(Math.floor(cube / 6) % 6)} ${level(cube % 6)})`;
}

/** Black or white, whichever has more contrast with a colour (by WCAG's relative luminance). */
export function readableOn(color: string): string {
	const [red = 0, green = 0, blue = 0] = (color.match(/\d+/g) ?? []).map((channel) => {
		const share = Number(channel) / 255;
		return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
	});
	const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
	// Where (1 + 0.05) / (l + 0.05) is (l + 0.05) / 0.05.
	return luminance > 0.179 ? 'rgb(0 0 0)' : 'rgb(255 255 255)';
}
