import type { Status } from '@orchion/api';

/**
 * What went wrong with a call: the orchestrator could not be reached (`network`), did not answer in
 * time (`timeout`), answered an error (`http`), or answered something that is not its API
 * (`protocol`).
 */
export type ApiErrorKind = 'network' | 'timeout' | 'http' | 'protocol';

/** The gRPC code numbers that the REST API uses, by the names people look up. */
const CODE_NAMES: Record<number, string> = {
	1: 'CANCELLED',
	2: 'UNKNOWN',
	3: 'INVALID_ARGUMENT',
	4: 'DEADLINE_EXCEEDED',
	5: 'NOT_FOUND',
	6: 'ALREADY_EXISTS',
	7: 'PERMISSION_DENIED',
	8: 'RESOURCE_EXHAUSTED',
	9: 'FAILED_PRECONDITION',
	10: 'ABORTED',
	11: 'OUT_OF_RANGE',
	12: 'UNIMPLEMENTED',
	13: 'INTERNAL',
	14: 'UNAVAILABLE',
	15: 'DATA_LOSS',
	16: 'UNAUTHENTICATED'
};

/** An error of the orchestrator's API, with a message that can be shown as it is. */
export class ApiError extends Error {
	readonly kind: ApiErrorKind;
	/** HTTP status; 0 when there was no answer. */
	readonly status: number;
	/** gRPC code number; 0 when the answer had none. */
	readonly code: number;
	readonly details: NonNullable<Status['details']>;

	constructor(
		kind: ApiErrorKind,
		message: string,
		options: { status?: number; code?: number; details?: Status['details']; cause?: unknown } = {}
	) {
		super(message, { cause: options.cause });
		this.name = 'ApiError';
		this.kind = kind;
		this.status = options.status ?? 0;
		this.code = options.code ?? 0;
		this.details = options.details ?? [];
	}

	/** The code's name, for example NOT_FOUND, else the HTTP status; empty without an answer. */
	get codeName(): string {
		return CODE_NAMES[this.code] ?? (this.status ? `HTTP ${this.status}` : '');
	}

	get notFound(): boolean {
		return this.code === 5 || this.status === 404;
	}

	/** Asking again can help: nobody answered, or the orchestrator could not just now. */
	get temporary(): boolean {
		if (this.kind !== 'http') return this.kind !== 'protocol';
		return this.status >= 500 || this.status === 429 || this.code === 8 || this.code >= 13;
	}

	/**
	 * The request field the error is about, in lowerCamelCase ("spec.container.image"), from the
	 * error's details or, failing that, from the first dotted path its message names.
	 */
	get field(): string | undefined {
		for (const detail of this.details) {
			const violations = detail['fieldViolations'];
			if (!Array.isArray(violations)) continue;
			const first: unknown = violations[0];
			if (typeof first === 'object' && first !== null && 'field' in first) {
				return camelPath(String(first.field));
			}
		}
		if (this.code !== 3) return undefined;
		const path = /(?:^|[\s"'`(])([a-z][A-Za-z_]*(?:\.[A-Za-z_]+)+)/.exec(this.message)?.[1];
		return path === undefined ? undefined : camelPath(path);
	}
}

/** Reads an error answer; one that is not of the API's shape still yields a useful message. */
export async function errorFromResponse(response: Response): Promise<ApiError> {
	const options = { status: response.status };
	const text = await response.text().catch(() => '');
	let body: unknown;
	try {
		body = JSON.parse(text);
	} catch {
		body = undefined;
	}
	if (isRecord(body) && typeof body['message'] === 'string') {
		return new ApiError('http', body['message'] || response.statusText, {
			...options,
			code: typeof body['code'] === 'number' ? body['code'] : 0,
			details: Array.isArray(body['details']) ? (body['details'] as Status['details']) : []
		});
	}
	// The gateway answers in OpenAI's shape.
	if (isRecord(body) && isRecord(body['error']) && typeof body['error']['message'] === 'string') {
		return new ApiError('http', body['error']['message'], options);
	}
	const plain = /^\s*</.test(text) ? '' : text.trim().slice(0, 300);
	return new ApiError(
		'http',
		plain || `the orchestrator answered ${response.status} ${response.statusText}`.trim(),
		options
	);
}

/** The error that a stream tells of after its answer has begun. */
export function errorFromStatus(status: Status): ApiError {
	return new ApiError('http', status.message || 'the stream ended with an error', {
		code: status.code,
		details: status.details
	});
}

/** The message to show for anything that was thrown. */
export function messageOf(error: unknown): string {
	if (error instanceof Error && error.message) return error.message;
	return String(error);
}

export function isAbort(error: unknown): boolean {
	return error instanceof DOMException && error.name === 'AbortError';
}

function isRecord(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null;
}

function camelPath(path: string): string {
	return path.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
