/** Bytes as the API has them in JSON. */
export function toBase64(bytes: Uint8Array): string {
	let text = '';
	// A call takes only so many arguments.
	for (let from = 0; from < bytes.length; from += 8192) {
		text += String.fromCharCode(...bytes.subarray(from, from + 8192));
	}
	return btoa(text);
}

export function fromBase64(text: string): Uint8Array {
	return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
