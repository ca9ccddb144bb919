import type { ModelQueue, ModelReplica } from '../api/client';
import { formatCount, plural } from '../format/number';
import { formatDuration } from '../format/time';

/** What a replica has to do and how fast it was, in words. */
export function loadWords(load: ModelReplica): string {
	const has = formatCount(load.inFlight ?? 0);
	const words = [
		load.maxInFlight
			? `${has} of ${plural(load.maxInFlight, 'request')}`
			: plural(load.inFlight ?? 0, 'request')
	];
	if (load.tokensPerSecond) words.push(`${load.tokensPerSecond.toFixed(1)} tokens/s`);
	if (load.firstToken && parseFloat(load.firstToken) > 0)
		words.push(`first token after ${formatDuration(load.firstToken)}`);
	if (load.breaker === 'open')
		words.push(
			load.retryAfter
				? `failed, left alone for ${formatDuration(load.retryAfter)}`
				: 'failed, left alone'
		);
	if (load.breaker === 'half-open') words.push('failed, one request finds out whether it works');
	return words.join(' · ');
}

/** How the requests for a model stand, in a sentence. */
export function queueWords(queue: ModelQueue): string {
	const waiting = (queue.interactive ?? 0) + (queue.batch ?? 0);
	const answered = queue.maxInFlight
		? `${formatCount(queue.inFlight ?? 0)} of ${plural(queue.maxInFlight, 'request')} at once`
		: plural(queue.inFlight ?? 0, 'request');
	const limit = queue.maxQueued ? ` of ${formatCount(queue.maxQueued)}` : '';
	if (waiting === 0)
		return `${answered} answered now; none waits${queue.maxQueued ? `, and ${formatCount(queue.maxQueued)} may` : ''}.`;
	const batch = queue.batch ? `, ${formatCount(queue.batch)} of them in no hurry` : '';
	const oldest = queue.oldest ? `; the first for ${formatDuration(queue.oldest)}` : '';
	return `${answered} answered now; ${formatCount(waiting)}${limit} waiting${batch}${oldest}.`;
}
