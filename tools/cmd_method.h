/* The commands that methods.def gives. */
#ifndef SG_TOOLS_CMD_METHOD_H
#define SG_TOOLS_CMD_METHOD_H

/* `name` is a method's; argv as with the other commands. */
int cmd_method(const char *name, int argc, char **argv);

#endif
