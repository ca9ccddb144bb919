import type { OrchionEvent } from '@orchion/api';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EventStream, retryDelay, type Connection, type EventChannel } from './stream';

/** A connection whose far side is the test. */
class Channel implements EventChannel {
	closed = false;
	private readonly listeners = new Map<string, (event: MessageEvent<string>) => void>();

	addEventListener(type: string, listener: (event: MessageEvent<string>) => void): void {
		this.listeners.set(type, listener);
	}
	close(): void {
		this.closed = true;
	}
	send(type: string, data: unknown = ''): void {
		const text = typeof data === 'string' ? data : JSON.stringify(data);
		this.listeners.get(type)?.({ data: text } as MessageEvent<string>);
	}
}

describe('EventStream', () => {
	let channels: Channel[];
	let connections: Connection[];
	let events: OrchionEvent[];
	let lists: number;
	let probe: () => Promise<unknown>;
	let stream: EventStream;

	beforeEach(() => {
		vi.useFakeTimers({ now: 1_000_000 });
		channels = [];
		connections = [];
		events = [];
		lists = 0;
		probe = () => Promise.reject(new Error('nobody there'));
		stream = new EventStream({
			open: () => {
				const channel = new Channel();
				channels.push(channel);
				return channel;
			},
			probe: () => probe(),
			onConnection: (connection) => connections.push(connection),
			onOpen: () => lists++,
			onReset: () => lists++,
			onEvent: (event) => events.push(event),
			random: () => 0
		});
	});
	afterEach(() => {
		stream.stop();
		vi.useRealTimers();
	});

	it('reads the lists once it is open, and passes events on', () => {
		stream.connect();
		expect(connections).toEqual([{ state: 'connecting' }]);
		expect(lists).toBe(0);
		channels[0]?.send('open');
		expect(connections.at(-1)).toEqual({ state: 'live' });
		expect(lists).toBe(1);
		channels[0]?.send('node', { type: 'EVENT_TYPE_UPDATED', node: { id: 'a' } });
		channels[0]?.send('job', 'no JSON');
		expect(events).toEqual([{ type: 'EVENT_TYPE_UPDATED', node: { id: 'a' } }]);
	});

	it('reads the lists again at a reset, by its name or its type', () => {
		stream.connect();
		channels[0]?.send('open');
		channels[0]?.send('reset', { type: 'EVENT_TYPE_RESET' });
		channels[0]?.send('node', { type: 'EVENT_TYPE_RESET' });
		expect(lists).toBe(3);
		expect(events).toEqual([]);
	});

	it('waits longer after each failure, says why, and starts over once it was open', async () => {
		stream.connect();
		for (const [attempt, delay] of [1000, 2000, 4000].entries()) {
			channels.at(-1)?.send('error');
			await vi.advanceTimersByTimeAsync(0);
			expect(connections.at(-1)).toEqual({
				state: 'waiting',
				attempt: attempt + 1,
				retryAt: Date.now() + delay,
				reason: 'nobody there'
			});
			const before = channels.length;
			await vi.advanceTimersByTimeAsync(delay - 1);
			expect(channels).toHaveLength(before);
			await vi.advanceTimersByTimeAsync(1);
			expect(channels).toHaveLength(before + 1);
		}
		expect(channels.slice(0, -1).every((channel) => channel.closed)).toBe(true);
		channels.at(-1)?.send('open');
		channels.at(-1)?.send('error');
		expect(connections.at(-1)).toMatchObject({ state: 'waiting', attempt: 1 });
	});

	it('reads the lists at each retry while only the stream is broken', async () => {
		probe = () => Promise.resolve({});
		stream.connect();
		channels[0]?.send('error');
		await vi.advanceTimersByTimeAsync(0);
		expect(lists).toBe(1);
		expect(connections.at(-1)).toMatchObject({
			state: 'waiting',
			reason: 'the orchestrator answers, but its event stream ended'
		});
	});

	it('connects at once when asked, and then not again by the old timer', async () => {
		stream.connect();
		channels[0]?.send('error');
		stream.connect();
		expect(channels).toHaveLength(2);
		channels[1]?.send('open');
		await vi.advanceTimersByTimeAsync(60_000);
		expect(channels).toHaveLength(2);
		expect(connections.at(-1)).toEqual({ state: 'live' });
	});

	it('hears nothing of a connection it has let go', async () => {
		stream.connect();
		stream.pause();
		expect(channels[0]?.closed).toBe(true);
		channels[0]?.send('open');
		channels[0]?.send('node', { type: 'EVENT_TYPE_UPDATED', node: { id: 'late' } });
		channels[0]?.send('error');
		await vi.advanceTimersByTimeAsync(60_000);
		expect(connections.at(-1)).toEqual({ state: 'paused' });
		expect([lists, events.length, channels.length]).toEqual([0, 0, 1]);
	});

	it('stops for good, and may be stopped twice', async () => {
		stream.connect();
		channels[0]?.send('error');
		stream.stop();
		stream.stop();
		await vi.advanceTimersByTimeAsync(60_000);
		expect(channels).toHaveLength(1);
		expect(connections.at(-1)).toEqual({ state: 'stopped' });
		expect(vi.getTimerCount()).toBe(0);
	});
});

it('retryDelay doubles, is bounded, and takes up to a quarter off', () => {
	expect([1, 2, 3, 6, 50].map((attempt) => retryDelay(attempt, 0))).toEqual([
		1000, 2000, 4000, 30_000, 30_000
	]);
	expect(retryDelay(50, 0.999)).toBeGreaterThanOrEqual(22_500);
});
