import { ApiError } from './error';

/** What one chunk of a streamed chat adds. */
export interface ChatDelta {
	content: string;
	/** What the model thought before it answered, where the engine tells it apart. */
	reasoning: string;
	/** Tokens of the answer, once the engine has counted them. */
	completionTokens?: number;
}

/**
 * Reads one line of a chat's event stream: what it adds, 'done' at the stream's end, or undefined
 * for a line that says nothing (comments, blank lines). An error in the stream is thrown.
 */
export function parseChatLine(line: string): ChatDelta | 'done' | undefined {
	if (!line.startsWith('data:')) return undefined;
	const data = line.slice('data:'.length).trim();
	if (data === '[DONE]') return 'done';
	let chunk: unknown;
	try {
		chunk = JSON.parse(data);
	} catch (cause) {
		throw new ApiError('protocol', 'the gateway sent a chunk that is not JSON', { cause });
	}
	const { error, choices, usage } = chunk as {
		error?: { message?: string };
		choices?: {
			delta?: { content?: string | null; reasoning?: string; reasoning_content?: string };
		}[];
		usage?: { completion_tokens?: number } | null;
	};
	if (error) throw new ApiError('http', error.message || 'the model stopped with an error');
	const delta = choices?.[0]?.delta;
	return {
		content: delta?.content ?? '',
		reasoning: delta?.reasoning ?? delta?.reasoning_content ?? '',
		completionTokens: usage?.completion_tokens
	};
}
