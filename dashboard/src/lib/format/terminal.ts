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
	return text
		.slice(text.lastIndexOf('\r') + 1)
		.replace(CONTROLS, '')
		.replace(BIDI, '\ufffd');
}
