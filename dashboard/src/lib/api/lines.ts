/**
 * Longest line that is read, in characters. A log entry holds at most 16 KiB of text and a chat
 * chunk far less; more means that this is no stream of lines.
 */
const MAX_LINE = 4 * 1024 * 1024;

/** The lines of a byte stream as they arrive, without their ends; the stream is released at the end. */
export async function* readLines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
	const reader = body.getReader();
	const decoder = new TextDecoder();
	let rest = '';
	try {
		for (;;) {
			const { done, value } = await reader.read();
			rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
			let from = 0;
			for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', from)) {
				yield rest.slice(from, rest[end - 1] === '\r' ? end - 1 : end);
				from = end + 1;
			}
			rest = rest.slice(from);
			if (rest.length > MAX_LINE) throw new Error('a line of the stream is too long');
			if (done) {
				if (rest !== '') yield rest;
				return;
			}
		}
	} finally {
		await reader.cancel().catch(() => undefined);
	}
}
