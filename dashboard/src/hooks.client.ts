import type { HandleClientError } from '@sveltejs/kit';

/** What the error page says; a wrong address is no fault of the program and is not logged as one. */
export const handleError: HandleClientError = ({ error, status, message }) => {
	if (status === 404) return { message: 'There is no page at this address' };
	console.error(error);
	return { message };
};
