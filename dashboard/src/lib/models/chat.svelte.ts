import { parseChatLine } from '../api/chat';
import type { OrchionApi } from '../api/client';
import { messageOf } from '../api/error';

export interface Turn {
	id: number;
	role: 'user' | 'assistant';
	content: string;
	/** What the model thought first, where the engine tells it apart. */
	reasoning: string;
	/** How it ended: with an error, or because somebody stopped it. */
	ended?: string;
	tokensPerSecond?: number;
}

/** Chat is one conversation with a model through the gateway. */
export class Chat {
	turns = $state.raw<Turn[]>([]);
	busy = $state(false);
	private current: AbortController | undefined;
	private nextId = 1;

	constructor(private readonly api: OrchionApi) {}

	/** Asks, with all that was said before, and streams the answer into the last turn. */
	async ask(model: string, question: string): Promise<void> {
		this.stop();
		const current = new AbortController();
		this.current = current;
		const messages = [
			...this.turns.filter((turn) => turn.content !== ''),
			{ role: 'user', content: question }
		].map(({ role, content }) => ({ role, content }));
		const user: Turn = { id: this.nextId++, role: 'user', content: question, reasoning: '' };
		let answer: Turn = { id: this.nextId++, role: 'assistant', content: '', reasoning: '' };
		const before = [...this.turns, user];
		const draw = (change: Partial<Turn>) => {
			answer = { ...answer, ...change };
			if (this.current === current) this.turns = [...before, answer];
		};
		draw({});
		this.busy = true;
		let begun = 0;
		try {
			const body = { model, messages, stream: true, stream_options: { include_usage: true } };
			for await (const line of this.api.chatLines(body, current.signal)) {
				const delta = parseChatLine(line);
				if (delta === undefined) continue;
				if (delta === 'done') break;
				if (begun === 0 && (delta.content || delta.reasoning)) begun = performance.now();
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

	clear(): void {
		this.stop();
		this.turns = [];
	}
}
