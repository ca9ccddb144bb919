import { messageOf } from '../api/error';

export interface BulkProgress {
	/** How many were tried, those that were refused included. */
	done: number;
	failed: number;
	/** Why the first that was refused was. */
	firstError: string | undefined;
}

/** Calls at a time: enough to be quick, and few enough for a browser's connections. */
const AT_ONCE = 4;

/**
 * Does something to each of many, a few at a time, and tells after each how far it is. One that is
 * refused does not keep the others from being done; after the signal nothing more is begun.
 */
export async function doToAll<T>(
	items: readonly T[],
	action: (item: T) => Promise<void>,
	signal: AbortSignal,
	onProgress: (progress: BulkProgress) => void
): Promise<BulkProgress> {
	let progress: BulkProgress = { done: 0, failed: 0, firstError: undefined };
	let next = 0;
	const work = async () => {
		while (next < items.length && !signal.aborted) {
			const item = items[next++] as T;
			let error: string | undefined;
			try {
				await action(item);
			} catch (cause) {
				error = messageOf(cause);
			}
			progress = {
				done: progress.done + 1,
				failed: progress.failed + (error === undefined ? 0 : 1),
				firstError: progress.firstError ?? error
			};
			onProgress(progress);
		}
	};
	await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, work));
	return progress;
}
