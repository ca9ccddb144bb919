import { parseChatLine } from '../api/chat';
import type { OrchionApi } from '../api/client';
import { messageOf } from '../api/error';

/** Where an answer came from, as the gateway tells in its headers. */
export interface Route {
	node: string;
	/** The model that answered: another name than was asked for where that was an alias. */
	model: string;
	reason: string;
	requestId: string;
}

/** How a model is to answer, as typed; what is empty is left to the engine. */
export interface ChatSettings {
	system: string;
	temperature: string;
	topP: string;
	maxTokens: string;
	seed: string;
}

export const emptyChatSettings: ChatSettings = {
	system: '',
	temperature: '',
	topP: '',
	maxTokens: '',
	seed: ''
};

/** The fields of a request that settings ask for. */
export function chatFields(settings: ChatSettings): Record<string, number> {
	const fields: Record<string, number> = {};
	for (const [name, typed] of [
		['temperature', settings.temperature],
		['top_p', settings.topP],
		['max_tokens', settings.maxTokens],
		['seed', settings.seed]
	] as const) {
		// A number field gives numbers, however it was bound.
		const text = String(typed ?? '').trim();
		if (text !== '' && Number.isFinite(Number(text))) fields[name] = Number(text);
	}
	return fields;
}

export interface Turn {
	id: number;
	role: 'user' | 'assistant';
	/** The model that was asked, by the name it was asked by. */
	model: string;
	content: string;
	/** What the model thought first, where the engine tells it apart. */
	reasoning: string;
	/** How it ended: with an error, or because somebody stopped it. */
	ended?: string;
	tokensPerSecond?: number;
	/** From the question to the first piece of the answer, in milliseconds. */
	firstTokenMs?: number;
	route?: Route;
	/** What the gateway was asked, of an answer. */
	request?: unknown;
}

/** Chat is one conversation with a model through the gateway. */
export class Chat {
	turns = $state.raw<Turn[]>([]);
	busy = $state(false);
	private current: AbortController | undefined;
	private nextId = 1;

	constructor(private readonly api: OrchionApi) {}

	/** Asks, with all that was said before, and streams the answer into the last turn. */
	async ask(model: string, question: string, settings = emptyChatSettings): Promise<void> {
		this.stop();
		const current = new AbortController();
		this.current = current;
		const system = settings.system.trim();
		const messages = [
			...(system ? [{ role: 'system', content: system }] : []),
			...this.turns.filter((turn) => turn.content !== ''),
			{ role: 'user', content: question }
		].map(({ role, content }) => ({ role, content }));
		const user: Turn = { id: this.nextId++, role: 'user', model, content: question, reasoning: '' };
		let answer: Turn = {
			id: this.nextId++,
			role: 'assistant',
			model,
			content: '',
			reasoning: ''
		};
		const body = {
			model,
			messages,
			...chatFields(settings),
			stream: true,
			stream_options: { include_usage: true }
		};
		const before = [...this.turns, user];
		const draw = (change: Partial<Turn>) => {
			answer = { ...answer, ...change };
			if (this.current === current) this.turns = [...before, answer];
		};
		draw({ request: body });
		this.busy = true;
		const asked = performance.now();
		let begun = 0;
		const noteRoute = (headers: Headers) => {
			const said = (name: string) => headers.get(name) ?? '';
			draw({
				route: {
					node: said('x-orchion-node'),
					model: said('x-orchion-model'),
					reason: said('x-orchion-route-reason'),
					requestId: said('x-request-id')
				}
			});
		};
		try {
			for await (const line of this.api.chatLines(body, current.signal, noteRoute)) {
				const delta = parseChatLine(line);
				if (delta === undefined) continue;
				if (delta === 'done') break;
				if (begun === 0 && (delta.content || delta.reasoning)) {
					begun = performance.now();
					draw({ firstTokenMs: begun - asked });
				}
				const change: Partial<Turn> = {
					content: answer.content + delta.content,
					reasoning: answer.reasoning + delta.reasoning
				};
				const seconds = (performance.now() - begun) / 1000;
				// A time too short to measure says nothing about speed.
				if (delta.completionTokens && begun > 0 && seconds > 0.05) {
					change.tokensPerSecond = delta.completionTokens / seconds;
				}
				draw(change);
			}
		} catch (error) {
			draw({ ended: current.signal.aborted ? 'stopped' : messageOf(error) });
		} finally {
			if (this.current === current) {
				this.busy = false;
				this.current = undefined;
			}
		}
	}

	/** Ends the answer that is under way; the gateway tells the engine. May be called twice. */
	stop(): void {
		this.current?.abort();
	}

	/** Forgets what was said; an answer that is under way does not bring it back. */
	clear(): void {
		this.stop();
		this.current = undefined;
		this.busy = false;
		this.turns = [];
	}
}
