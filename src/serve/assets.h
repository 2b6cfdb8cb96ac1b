/* The page's files, which lie in the program. */
#ifndef SG_SERVE_ASSETS_H
#define SG_SERVE_ASSETS_H

#include "serve/exchange.h"

/* Answers with the file of the page that the exchange's path names; does nothing where there is none. */
void serve_assets_answer(exchange *x);

#endif
