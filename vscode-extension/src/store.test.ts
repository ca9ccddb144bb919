import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Client, ServerEvent } from './client.ts';
import { maxJobs, Store } from './store.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** An orchestrator whose event stream the test feeds. */
class FakeOrchestrator {
	down = false;
	lists = 0;
	nodeIds = ['attic'];
	#push: (event: ServerEvent | 'end') => void = () => undefined;

	push(event: ServerEvent | 'end'): void {
		this.#push(event);
	}

	async nodes() {
		this.#check();
		this.lists++;
		return this.nodeIds.map((id) => ({ id, hostname: id }));
	}

	async jobs() {
		this.#check();
		return [{ id: 'new' }, { id: 'old' }];
	}

	async deployments() {
		this.#check();
		return [];
	}

	async *events(signal: AbortSignal): AsyncGenerator<ServerEvent> {
		this.#check();
		const queue: (ServerEvent | 'end')[] = [];
		let wake = (): void => undefined;
		this.#push = (event) => {
			queue.push(event);
			wake();
		};
		signal.addEventListener('abort', () => wake());
		while (!signal.aborted) {
			const event = queue.shift();
			if (event === 'end') {
				return;
			}
			if (event) {
				yield event;
			} else {
				await new Promise<void>((resolve) => (wake = resolve));
			}
		}
		throw new Error('aborted');
	}

	#check(): void {
		if (this.down) {
			throw new Error('fetch failed', { cause: new Error('connect ECONNREFUSED') });
		}
	}
}

function start() {
	const orchestrator = new FakeOrchestrator();
	const changed = vi.fn();
	const store = new Store(orchestrator as unknown as Client, changed);
	const ended = store.run();
	return { orchestrator, changed, store, ended };
}

test('lists, then follows events', async () => {
	const { orchestrator, changed, store, ended } = start();
	await vi.advanceTimersByTimeAsync(1000);
	expect(store.state).toBe('connected');
	expect([...store.nodes.keys()]).toEqual(['attic']);
	expect([...store.jobs.keys()]).toEqual(['old', 'new']);

	const before = changed.mock.calls.length;
	for (let i = 0; i < 50; i++) {
		orchestrator.push({ name: 'node', data: { node: { id: `n${i}` } } });
	}
	orchestrator.push({
		name: 'node',
		data: { node: { id: 'attic', state: 'NODE_STATE_OFFLINE' } }
	});
	await vi.advanceTimersByTimeAsync(1000);
	expect(store.nodes.size).toBe(50);
	// One redraw for all of them.
	expect(changed.mock.calls.length).toBe(before + 1);

	store.stop();
	await ended;
});

test('a lost orchestrator is said, and found again', async () => {
	const { orchestrator, store, ended } = start();
	await vi.advanceTimersByTimeAsync(1000);
	orchestrator.down = true;
	orchestrator.push('end');
	await vi.advanceTimersByTimeAsync(5000);
	expect(store.state).toBe('unreachable');
	expect(store.problem).toBe('connect ECONNREFUSED');
	expect(store.nodes.size).toBe(0);

	orchestrator.down = false;
	await vi.advanceTimersByTimeAsync(30_000);
	expect(store.state).toBe('connected');
	expect([...store.nodes.keys()]).toEqual(['attic']);
	store.stop();
	await ended;
});

test('refresh and reset list again', async () => {
	const { orchestrator, store, ended } = start();
	await vi.advanceTimersByTimeAsync(1000);
	orchestrator.nodeIds = ['cellar'];
	orchestrator.push({ name: 'reset', data: {} });
	await vi.advanceTimersByTimeAsync(1000);
	expect([...store.nodes.keys()]).toEqual(['cellar']);

	orchestrator.nodeIds = ['roof'];
	store.refresh();
	await vi.advanceTimersByTimeAsync(1000);
	expect([...store.nodes.keys()]).toEqual(['roof']);
	expect(store.state).toBe('connected');
	store.stop();
	await ended;
});

test('only the newest jobs are kept', () => {
	const store = new Store({} as Client, () => undefined);
	for (let i = 0; i < maxJobs + 10; i++) {
		store.apply({ name: 'job', data: { job: { id: `j${i}` } } });
	}
	expect(store.jobs.size).toBe(maxJobs);
	expect(store.jobs.has('j9')).toBe(false);
	expect(store.jobs.has(`j${maxJobs + 9}`)).toBe(true);
	store.stop();
});
